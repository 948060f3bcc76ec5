"""Planted addresses, tokens and secrets are looked for in everything that the operator writes."""

from hashlib import sha256

from tests.environment.stage import Stage

# Addresses are told from the sender's and the reply-to of the spec, which are the user's own words.
PLANTED = [f"planted.person{n}@example.com" for n in range(30)]


def digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


def test_no_address_token_or_secret_is_in_status_events_logs_or_metrics(stage: Stage) -> None:
    operator = stage.operator()
    stage.people("#planted", [*PLANTED, "planted.garbage@@example", "planted broken@example.com"])
    exporter = stage.exporter(**{"nexthink.queryId": "#planted"})
    exporter.checked()
    stage.sandbox.account.refused_addresses.add(PLANTED[0])
    stage.sandbox.fault("nexthink.execute", status=500, body=f'{{"message": "no mail for {PLANTED[1]}", "code": 5}}')
    exporter.annotate(run_requested_at="one")
    stage.while_time_passes(exporter.ended)
    leaky = '{"meta": {"error": {"errorCode": "%s", "errorMessage": "%s"}, "requestId": "%s"}}'
    stage.sandbox.fault("qualtrics.create_distribution", status=400, body=leaky % (PLANTED[2], PLANTED[3], PLANTED[4]))
    exporter.annotate(run_requested_at="two")
    stage.while_time_passes(lambda: exporter.ended(2))
    stage.people("#many", 1500)
    exporter.change(**{"nexthink.queryId": "#many"})
    exporter.checked()
    exporter.annotate(run_requested_at="three", test_requested_at="three")
    stage.while_time_passes(lambda: exporter.ended(3))
    exporter.tested("three")
    asked = {"run_requested_at": f"asked by {PLANTED[5]}", "test_requested_at": f"dry, for {PLANTED[6]}"}
    exporter.annotate(**asked)
    stage.while_time_passes(lambda: exporter.ended(4))
    exporter.tested(digest(asked["test_requested_at"]))
    # The annotations are the user's own words, as the sender's address is.
    exporter.annotate(run_requested_at=None, test_requested_at=None)
    metrics = operator.metrics()
    operator.stop()

    secrets = [keys["clientSecret"] for keys in stage.sandbox.secrets().values()]
    tokens = stage.sandbox.tokens()
    assert tokens, "the sandbox gave out tokens to look for"
    written = {"the API server": stage.everything_written(), "the log": operator.log, "the metrics": metrics}
    assert "Succeeded" in written["the API server"]
    assert "run " in written["the log"]
    for place, text in written.items():
        for needle in ["planted", "user00", *secrets, *tokens, "X-Amz", "Bearer "]:
            assert needle not in text.replace("#planted", "#"), f"{needle} is in {place}"
