"""The notice that a machine of Google Cloud is about to go, from a stand-in for its metadata server."""

import http.server
import threading

import pytest

from t2i_jax.distributed import notice


@pytest.fixture
def answers(monkeypatch):
    """{question: answer} of a metadata server, to be changed while it runs."""
    told = {"preempted": "FALSE", "maintenance-event": "NONE"}

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.headers["Metadata-Flavor"] == "Google"
            prefix, name = self.path.rsplit("/", 1)
            assert prefix == "/computeMetadata/v1/instance"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(told[name].encode())

        def log_message(self, *arguments): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(notice.HOST, f"127.0.0.1:{server.server_port}")
    yield told
    server.shutdown()


@pytest.mark.parametrize("name, answer", [("preempted", "TRUE"), ("maintenance-event", "TERMINATE_ON_HOST_MAINTENANCE")])
def test_a_notice_that_comes_is_heard(name, answer, answers):
    heard = threading.Event()
    listening = notice.Notice(heard.set, pause=0.02)
    assert not heard.wait(0.3)
    answers["maintenance-event"] = "MIGRATE_ON_HOST_MAINTENANCE"  # which stops nothing
    assert not heard.wait(0.3)
    answers[name] = answer
    assert heard.wait(10)
    listening.close()


def test_one_that_stands_already_is_not(answers):
    answers["preempted"] = "TRUE"
    heard = threading.Event()
    listening = notice.Notice(heard.set, pause=0.02)
    assert not heard.wait(0.5)
    listening.close()


def test_elsewhere_nobody_is_asked(monkeypatch):
    monkeypatch.delenv(notice.HOST, raising=False)
    monkeypatch.setattr(notice, "noticed", lambda name: pytest.fail("asked"))
    monkeypatch.setattr(notice.Path, "read_text", lambda *a, **k: "Standard PC")
    assert not notice.on_google_cloud()
    notice.Notice(lambda: None, pause=0.01).close()
