"""The errors a user can meet. One base class; one subclass per room."""

from __future__ import annotations


class FacenetValidateError(Exception):
    """Base of every error whose message is meant for the user.

    The message says what was found, what was expected and what to do. The plugin and the command
    line print it without a traceback.
    """


class SettingsError(FacenetValidateError):
    """An option, variable or ini value is wrong or contradicts another."""


class ModelError(FacenetValidateError):
    """A source model or recipe cannot become what was asked."""


class DatasetError(FacenetValidateError):
    """A data set, pairs file or image is missing, malformed or unreadable."""


class EngineError(FacenetValidateError):
    """An engine cannot be built, loaded or run, or breaks its contract."""


class MeasurementError(FacenetValidateError):
    """A test hands over a measurement that a report cannot hold."""


class CacheError(FacenetValidateError):
    """The cache folder cannot be used."""


class ShardError(FacenetValidateError):
    """A folder of embeddings in shards cannot be read or written, or holds other ones."""


class BaselineError(FacenetValidateError):
    """A gates file or stored baseline cannot be read or written."""
