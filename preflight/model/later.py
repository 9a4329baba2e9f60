"""Types that pydantic builds with the first value of them: a large union of which most runs have no value."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
    from pydantic_core import CoreSchema


class Later:
    """An annotation: the annotated type is what `TypeAdapter(type_)` makes of it, and the same in a JSON Schema."""

    def __init__(self, type_: Any) -> None:
        self._type = type_

    @cached_property
    def _adapter(self) -> "TypeAdapter[Any]":
        from pydantic import TypeAdapter

        return TypeAdapter(self._type)

    def __get_pydantic_core_schema__(self, source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        """A pair of functions in the place of the type."""
        from pydantic_core import ValidationError, core_schema, to_json

        def read(value: Any, info: core_schema.ValidationInfo) -> Any:
            try:
                if info.mode == "json":
                    return self._adapter.validate_json(to_json(value))
                return self._adapter.validate_python(value)
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

        def written(value: Any, info: core_schema.SerializationInfo) -> Any:
            return self._adapter.dump_python(value, mode="json" if info.mode == "json" else "python")

        write = core_schema.plain_serializer_function_ser_schema(written, info_arg=True)
        return core_schema.with_info_plain_validator_function(read, serialization=write)

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        """The type's own."""
        return handler(self._adapter.core_schema)
