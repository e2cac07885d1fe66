"""The one error a person or an HTTP client is shown: what, why, what next."""

# The code of what is not ready yet: its text says how far it is.
STARTING = "Starting"


class RequestError(Exception):
    """A request we won't carry out; `status` is the HTTP answer it becomes."""

    def __init__(self, code: str, text: str, hint: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint
        self.status = status
