"""Web pages of other origins against the emulator, in headless Chromium: they read nothing and change nothing."""

import json
import urllib.parse
import urllib.request
from pathlib import Path

from browser import chromium, site
from harness import emulating, until

from batchrec.emulator import Emulator, Settings

KEY, SECRET = "a-key-of-the-emulator", "a-secret-of-the-emulator"
LONGEST = 120.0
"""Seconds after which a page that has not reported has failed; Chromium takes 2 s to start on a quiet machine."""

SCRIPT = """
const settings = emulator + "/_emulator/settings";
const text = body => ({method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body});
const json = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body});

function loaded(tag, source) {
    return new Promise((resolve, reject) => {
        const element = document.createElement(tag);
        element.onload = () => resolve("loaded");
        element.onerror = () => reject(new Error("not loaded"));
        element.src = source;
        document.body.append(element);
    });
}

function form() {
    const [form, field] = [document.createElement("form"), document.createElement("input")];
    Object.assign(form, {method: "POST", action: settings, enctype: "text/plain", target: "frame"});
    Object.assign(field, {name: '{"token_life": 113, "models": ["', value: '"]}'});
    form.append(field);
    document.body.append(form);
    return new Promise(resolve => { frames[0].frameElement.onload = () => resolve("loaded"); form.submit(); });
}

const faults = JSON.stringify({faults: [{kind: "not_json", service: "token", body: "window.owned = 1"}]});
const attempts = {
    "fetch, settings": () => fetch(settings, text('{"daily": 111}')),
    "fetch, revoke": () => fetch(emulator + "/_emulator/revoke", text("")),
    "fetch, faults": () => fetch(emulator + "/_emulator/faults", text(faults)),
    "beacon, settings": async () => navigator.sendBeacon(settings, '{"total": 112}'),
    "form, settings": form,
    "fetch of JSON, settings": () => fetch(settings, json('{"max_side": 114}')),
    "fetch, counters": async () => (await fetch(emulator + "/_emulator/counters")).text(),
    "frame, counters": () => loaded("iframe", emulator + "/_emulator/counters"),
    "script, counters": () => loaded("script", emulator + "/_emulator/counters"),
    "script, faults": () => loaded("script", emulator + "/oauth/2.0/token"),
};
(async () => {
    const seen = {};
    for (const [name, attempt] of Object.entries(attempts)) {
        try { seen[name] = String(await attempt()); } catch (error) { seen[name] = "refused"; }
    }
    seen.owned = String(window.owned);
    await fetch("/", {method: "POST", body: JSON.stringify(seen)});
})();
"""
PAGE = """<!doctype html><title>a page</title><body><iframe name="frame"></iframe><script>
const emulator = new URLSearchParams(location.search).get("emulator");
{script}</script>""".replace("{script}", SCRIPT)

REBOUND = """<!doctype html><title>a page whose name moves</title><script>
const witness = new URLSearchParams(location.search).get("witness");
const report = value => fetch(witness, {method: "POST", mode: "no-cors", body: JSON.stringify(value)});
const json = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body});

async function asked(path, options) {
    const reply = await fetch(path, options);
    return [reply.status, await reply.text()];
}

(async () => {
    await report("here");
    for (;;) {
        try { if ((await asked("/_emulator/counters"))[1]) break; } catch (error) { }
        await new Promise(resolve => setTimeout(resolve, 100));
    }
    await report({
        counters: await asked("/_emulator/counters"),
        settings: await asked("/_emulator/settings", json('{"daily": 111}')),
        revoke: await asked("/_emulator/revoke", json("{}")),
        faults: await asked("/_emulator/faults", json("{}")),
    });
})();
</script>"""


def token_of(emulator: Emulator) -> str:
    """A fresh token, as a client gets it."""
    query = {"grant_type": "client_credentials", "client_id": KEY, "client_secret": SECRET}
    with urllib.request.urlopen(f"{emulator.url}/oauth/2.0/token?{urllib.parse.urlencode(query)}", timeout=60) as reply:
        return str(json.load(reply)["access_token"])


def code_of(emulator: Emulator, token: str) -> int:
    """The error code of a call without an image: 216101 where the token is taken, 110 where it was revoked."""
    url = f"{emulator.url}/rest/2.0/image-classify/v2/dish?access_token={token}"
    with urllib.request.urlopen(url, data=b"", timeout=60) as reply:
        return int(json.load(reply)["error_code"])


def test_a_page_of_another_origin_reaches_no_control_path(tmp_path: Path) -> None:
    """By fetch, beacon, form, frame and script: nothing is changed, nothing is read, no script comes back."""
    with emulating(Settings(api_key=KEY, secret_key=SECRET)) as emulator, site(PAGE) as elsewhere:
        token, settings, plan = token_of(emulator), emulator.settings, emulator.plan
        page = f"http://127.0.0.1:{elsewhere.port}/?emulator={emulator.url}"
        with chromium(page, tmp_path / "profile"):
            seen = elsewhere.reports.get(timeout=LONGEST)
            until(lambda: emulator.counters.refused >= len(seen) - 1)  # a beacon is sent when the browser likes
        assert emulator.settings == settings
        assert emulator.plan is plan
        assert code_of(emulator, token) == 216101
        refused = {"fetch of JSON, settings", "fetch, counters", "script, counters", "script, faults"}
        assert {name for name, what in seen.items() if what == "refused"} == refused
        assert seen["owned"] == "undefined"
        assert emulator.counters.calls == {"token": 1, "dish": 1}


def test_a_page_whose_name_was_rebound_reaches_no_control_path(tmp_path: Path) -> None:
    """DNS rebinding: the page's own name and port lead to the emulator, so that it is of the same origin."""
    with site("") as witness, site(REBOUND) as elsewhere:
        page = f"http://rebound.example:{elsewhere.port}/?witness=http://127.0.0.1:{witness.port}/"
        with chromium(page, tmp_path / "profile", "--host-resolver-rules=MAP rebound.example 127.0.0.1"):
            assert witness.reports.get(timeout=LONGEST) == "here"
            elsewhere.close()
            with emulating(Settings(api_key=KEY, secret_key=SECRET), port=elsewhere.port) as emulator:
                settings, plan = emulator.settings, emulator.plan
                seen = witness.reports.get(timeout=LONGEST)
                assert {name: status for name, (status, _) in seen.items()} == dict.fromkeys(seen, 403)
                assert SECRET not in json.dumps(seen)
                assert emulator.settings == settings
                assert emulator.plan is plan
