"""The tests, by the folders of batchrec; `acceptance` is the program from outside, `support` is what they share."""
