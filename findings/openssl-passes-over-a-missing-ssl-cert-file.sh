#!/usr/bin/env bash
# Python 3.11.7 (ssl): a missing SSL_CERT_FILE is no error, and takes the place of the system's certificates.
#
# Expected: a file that the user names and that is not there is an error of `ssl.create_default_context`, as it is of
# `load_verify_locations`; or it is left out, and the system's certificates are trusted.
# Seen: the context is made without an error or a warning. It trusts no authority of the system's file any more, so that
# every connection fails with "unable to get local issuer certificate", where nothing names the variable.
# Output seen (the first number differs by system):
#   without SSL_CERT_FILE:   144 authorities
#   SSL_CERT_FILE=/nowhere:  0 authorities, no error
#   load_verify_locations:   FileNotFoundError
# Exit code 0: as described; 1: not any more. Needs python3 and a file of certificates of the system's.
set -euo pipefail
count='import ssl; print(ssl.create_default_context().cert_store_stats()["x509_ca"])'
system=$(env -u SSL_CERT_FILE -u SSL_CERT_DIR python3 -W error -c "$count")
echo "without SSL_CERT_FILE:   $system authorities"
missing=$(env -u SSL_CERT_DIR SSL_CERT_FILE=/nowhere python3 -W error -c "$count")
echo "SSL_CERT_FILE=/nowhere:  $missing authorities, no error"
loud=$(python3 -c '
import ssl
try:
    ssl.create_default_context().load_verify_locations("/nowhere")
except OSError as error:
    print(type(error).__name__)')
echo "load_verify_locations:   $loud"
[ "$system" -gt 0 ] && [ "$missing" -eq 0 ] && [ "$loud" = FileNotFoundError ]
