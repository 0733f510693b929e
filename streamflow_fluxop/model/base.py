from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Base of the documents: immutable, strict about types, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
