"""The status page in a real browser: what the tests and the pictures of the documentation share."""
