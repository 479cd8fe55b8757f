"""From a suite of questions and an endpoint to a file of responses."""
