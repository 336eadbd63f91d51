"""The one error of expressions. Imports nothing: decisions may know it."""


class ExpressionError(Exception):
    """An expression, or what is made of it, is wrong: in its source, or for this data. The only error of expressions."""

    def __init__(self, detail: str, pointer: str = "", *, line: int | None = None, column: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.line = line
        self.column = column

    def within(self, pointer: str) -> "ExpressionError":
        """The same error, seen from further out."""
        return ExpressionError(self.detail, pointer + self.pointer, line=self.line, column=self.column)

    def __str__(self) -> str:
        place = f"{self.pointer}: " if self.pointer else ""
        position = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        return place + position + self.detail
