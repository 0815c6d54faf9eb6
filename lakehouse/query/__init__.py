"""The query service: SQL in, rows out, over releases alone, safe to give to strangers.

One call goes: `http` (or `aws_lambda`, or the command line) → `service` (who asks, which release, is it cached) →
`pool` → a `worker` process, which parses the statement, lets `guard` check the tree and streams the answer.
"""
