"""What all sections of the settings file have in common."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen, and strict: an unknown key is the author's mistake, and a limit that is not a number limits nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
