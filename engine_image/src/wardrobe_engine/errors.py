"""What can go wrong with a request: an HTTP status and a stable word each."""


class EngineError(Exception):
    """Base of what a client is told. `status` is the HTTP status, `kind` TGI's `error_type`."""

    status = 500
    kind = "internal"


class InvalidRequestError(EngineError):
    """The request asks for what cannot be done, now or later."""

    status = 422
    kind = "validation"


class TooLargeError(EngineError):
    """The body has more bytes than are taken."""

    status = 413
    kind = "validation"


class EncodedBodyError(EngineError):
    """The body is compressed."""

    status = 415
    kind = "validation"


class BrokenBodyError(EngineError):
    """The body's end cannot be found."""

    status = 400
    kind = "validation"


class SlowBodyError(EngineError):
    """The body did not come in time."""

    status = 408
    kind = "validation"


class TemplateError(EngineError):
    """The messages do not fit the model's chat template."""

    status = 422
    kind = "template_error"


class UnknownAdapterError(EngineError):
    """No adapter of that name is loaded. TGI would answer from the base instead, which nobody would notice."""

    status = 404
    kind = "unknown_adapter"


class OverloadedError(EngineError):
    """As many requests as may wait are waiting."""

    status = 429
    kind = "overloaded"


class GenerationError(EngineError):
    """The model failed while it worked on this request."""

    status = 424
    kind = "generation"


class StoppingError(EngineError):
    """The engine was told to stop, or its model thread has died."""

    status = 503
    kind = "stopping"


class BadAdapterError(EngineError):
    """The adapter cannot be served on this base."""

    status = 400
    kind = "bad_adapter"


class AdapterFilesMissingError(EngineError):
    """There is no adapter at the path."""

    status = 404
    kind = "adapter_files_missing"
