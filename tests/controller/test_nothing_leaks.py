"""Addresses, tokens and secrets never appear in anything that the operator writes."""

from tests.controller.test_tokens_in_status import digest
from tests.support.stage import Stage

# The prefix distinguishes them from the addresses in the spec, which the user wrote there.
PLANTED = [f"planted.person{n}@example.com" for n in range(30)]


def test_operator_writes_no_address_token_or_secret_to_status_events_logs_or_metrics(stage: Stage) -> None:
    operator = stage.operator()
    stage.people("#planted", [*PLANTED, "planted.garbage@@example", "planted broken@example.com"])
    exporter = stage.exporter(**{"nexthink.queryId": "#planted"})
    exporter.checked()

    # Qualtrics refuses an address, and both services quote addresses in errors.
    stage.sandbox.account.refused_addresses.add(PLANTED[0])
    stage.sandbox.fault("nexthink.execute", status=500, body=f'{{"message": "no mail for {PLANTED[1]}", "code": 5}}')
    exporter.annotate(run_requested_at="one")
    stage.while_time_passes(exporter.ended)
    leaky = '{"meta": {"error": {"errorCode": "%s", "errorMessage": "%s"}, "requestId": "%s"}}'
    stage.sandbox.fault("qualtrics.create_distribution", status=400, body=leaky % (PLANTED[2], PLANTED[3], PLANTED[4]))
    exporter.annotate(run_requested_at="two")
    stage.while_time_passes(lambda: exporter.ended(2))

    # A large result is exported to a file behind a signed URL.
    stage.people("#many", 1500)
    exporter.change(**{"nexthink.queryId": "#many"})
    exporter.checked()
    exporter.annotate(run_requested_at="three", test_requested_at="three")
    stage.while_time_passes(lambda: exporter.ended(3))
    exporter.tested("three")

    # Tokens of requests contain addresses.
    tokens_with_addresses = {
        "run_requested_at": f"asked by {PLANTED[5]}",
        "test_requested_at": f"dry, for {PLANTED[6]}",
    }
    exporter.annotate(**tokens_with_addresses)
    stage.while_time_passes(lambda: exporter.ended(4))
    exporter.tested(digest(tokens_with_addresses["test_requested_at"]))
    # The user wrote the annotations, so they may contain addresses.
    exporter.annotate(run_requested_at=None, test_requested_at=None)
    metrics = operator.metrics()
    operator.stop()

    secrets = [keys["clientSecret"] for keys in stage.sandbox.secrets().values()]
    tokens = stage.sandbox.tokens()
    assert tokens, "the sandbox issued tokens"
    written = {"the API server": stage.everything_written(), "the log": operator.log, "the metrics": metrics}
    assert "Succeeded" in written["the API server"]
    assert "run " in written["the log"]
    for place, text in written.items():
        for leak in ["planted", "user00", *secrets, *tokens, "X-Amz", "Bearer "]:
            assert leak not in text.replace("#planted", "#"), f"{leak} is in {place}"
