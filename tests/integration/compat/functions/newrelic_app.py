"""As New Relic's layer does it, whose wrapper is not on PyPI: this decorator around the handler."""

import newrelic.agent
import vendors_app
from newrelic_lambda.lambda_handler import lambda_handler

newrelic.agent.initialize()
handler = lambda_handler()(vendors_app.order)
