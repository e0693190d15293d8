# SPDX-License-Identifier: Apache-2.0
"""As much of GraphQL as a W&B client speaks: parse a document, check its variables, and answer
it from a tree of dictionaries, lists and functions (a function is called with the field's
arguments). As with a real server, the answer holds what the document selects and nothing else,
and a field that does not exist is an error.
"""
import inspect
import json
import re

TOKEN = re.compile(r'''[\s,]+|\#[^\n]*|
    (?P<name>[_A-Za-z]\w*)|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|
    (?P<string>"(?:[^"\\\n]|\\.)*")|(?P<sign>\.\.\.|[!$()\[\]{}:=@|&])''', re.X)


class Refused(Exception):
    """What a real server answers in errors[]."""


class Reference(str):
    """$name"""


class Field:
    def __init__(self, name, alias, arguments, directives, fields):
        self.name, self.alias, self.arguments = name, alias, arguments
        self.directives, self.fields = directives, fields


class Spread:
    def __init__(self, fragment, directives, fields):
        self.fragment, self.directives, self.fields = fragment, directives, fields


class Operation:
    def __init__(self, kind, name, variables, fields):
        self.kind, self.name, self.variables, self.fields = kind, name, variables, fields
        self.fragments = {}


class Parser:
    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise Refused(f"Syntax Error: unexpected {text[at:at + 10]!r}")
            if match.lastgroup:
                self.tokens.append(match.group())
            at = match.end()
        self.tokens.append("")
        self.at = 0

    def peek(self, *wanted):
        return self.tokens[self.at] in wanted

    def take(self, *wanted):
        token = self.tokens[self.at]
        if wanted and token not in wanted or not token:
            raise Refused(f"Syntax Error: expected {' or '.join(wanted)}, found {token!r}")
        self.at += 1
        return token

    def skip(self, token):
        found = self.peek(token)
        self.at += found
        return found

    def document(self):
        operation, fragments = None, {}
        while self.tokens[self.at]:
            if self.skip("fragment"):
                name, _, _ = self.take(), self.take("on"), self.take()
                fragments[name] = self.selection()
            elif operation:
                raise Refused("Must provide operation name: there are several operations")
            else:
                operation = self.operation()
        if not operation:
            raise Refused("Must provide an operation.")
        operation.fragments = fragments
        return operation

    def operation(self):
        kind = "query" if self.peek("{") else self.take("query", "mutation")
        name = "" if self.peek("{", "(") else self.take()
        variables = {}
        if self.skip("("):
            while not self.skip(")"):
                self.take("$")
                variable, _, type_name = self.take(), self.take(":"), self.type_name()
                variables[variable] = (type_name, self.value() if self.skip("=") else None)
        return Operation(kind, name, variables, self.selection())

    def type_name(self):
        if self.skip("["):
            name = f"[{self.type_name()}]"
            self.take("]")
        else:
            name = self.take()
        return name + ("!" if self.skip("!") else "")

    def value(self):
        if self.skip("$"):
            return Reference(self.take())
        if self.skip("["):
            values = []
            while not self.skip("]"):
                values.append(self.value())
            return values
        if self.skip("{"):
            return self.pairs("}")
        token = self.take()
        if token in ("true", "false", "null") or token[0] in '"-0123456789':
            return json.loads(token)
        return token  # an enumerator

    def pairs(self, end):
        values = {}
        while not self.skip(end):
            name, _ = self.take(), self.take(":")
            values[name] = self.value()
        return values

    def directives(self):
        found = []
        while self.skip("@"):
            name = self.take("include", "skip")
            self.take("(")
            found.append((name, self.pairs(")")["if"]))
        return found

    def selection(self):
        self.take("{")
        fields = []
        while not self.skip("}"):
            fields.append(self.spread() if self.skip("...") else self.field())
        return fields

    def spread(self):
        if self.skip("on"):
            self.take()
            return Spread(None, self.directives(), self.selection())
        return Spread(self.take(), self.directives(), None)

    def field(self):
        alias = name = self.take()
        if self.skip(":"):
            name = self.take()
        arguments = self.pairs(")") if self.skip("(") else {}
        directives = self.directives()
        return Field(name, alias, arguments, directives,
                     self.selection() if self.peek("{") else None)


def parse(text):
    return Parser(text).document()


SCALARS = {"String": str, "ID": str, "Int": int, "Int64": int, "Boolean": bool,
           "Float": (int, float), "Duration": int, "JSONString": str}


def check_type(what, type_name, value, inputs):
    """`inputs` maps the name of an input type to its members' types, and an enumeration's to a
    set."""
    required = type_name.endswith("!")
    bare = type_name.rstrip("!")
    if value is None:
        if required:
            raise Refused(f"{what} of required type {type_name} was not provided")
    elif bare.startswith("["):
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            check_type(f"{what}[{index}]", bare[1:-1], item, inputs)
    elif bare in SCALARS:
        if not isinstance(value, SCALARS[bare]) or isinstance(value, bool) != (bare == "Boolean"):
            raise Refused(f"{what} of type {type_name} got {json.dumps(value)[:80]}")
        if bare == "JSONString":
            check_json(what, value)
    elif isinstance(inputs.get(bare), (set, frozenset)):
        if value not in inputs[bare]:
            raise Refused(f"{what}: {value!r} is no {bare}")
    elif bare in inputs:
        check_members(what, inputs[bare], value, inputs)
    else:
        raise Refused(f"{what}: unknown type {bare}")


def check_json(what, value):
    try:
        json.loads(value)
    except ValueError as error:
        raise Refused(f"{what}: not JSON: {value[:80]!r}") from error


def check_members(what, members, value, inputs):
    if not isinstance(value, dict):
        raise Refused(f"{what} is no object: {json.dumps(value)[:80]}")
    for name in value.keys() - members.keys():
        raise Refused(f"{what}: unknown member {name!r}")
    for name, type_name in members.items():
        check_type(f"{what}.{name}", type_name, value.get(name), inputs)


def check_variables(operation, given, inputs):
    """The values of the declared variables, defaults filled in."""
    if not isinstance(given, dict):
        raise Refused("Variables must be an object")
    values = {}
    for name, (type_name, default) in operation.variables.items():
        values[name] = given.get(name, default)
        check_type(f"Variable ${name}", type_name, values[name], inputs)
    return values


class Resolver:
    def __init__(self, operation, variables):
        self.fragments, self.variables = operation.fragments, variables

    def value(self, value):
        if isinstance(value, Reference):
            if value not in self.variables:
                raise Refused(f"Variable ${value} is not defined")
            return self.variables[value]
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        return value

    def included(self, node):
        return all(bool(self.value(condition)) == (name == "include")
                   for name, condition in node.directives)

    def answer(self, source, fields, path):
        if source is None:
            return None
        if isinstance(source, list):
            return [self.answer(item, fields, path) for item in source]
        if fields is None:
            if isinstance(source, dict):
                raise Refused(f"Field {path} must have a selection of subfields")
            return source
        if not isinstance(source, dict):
            raise Refused(f"Field {path} must not have a selection")
        found = {}
        for node in fields:
            if not self.included(node):
                continue
            if isinstance(node, Spread):
                if node.fragment and node.fragment not in self.fragments:
                    raise Refused(f"Unknown fragment {node.fragment}")
                found |= self.answer(source, node.fields or self.fragments[node.fragment], path)
            else:
                found[node.alias] = self.field(source, node, f"{path}.{node.name}".lstrip("."))
        return found

    def field(self, source, node, path):
        if node.name == "__typename" and "__typename" not in source:
            return "Object"
        if node.name not in source:
            raise Refused(f'Cannot query field "{node.name}" ({path})')
        value = source[node.name]
        if callable(value):
            arguments = {name: self.value(argument) for name, argument in node.arguments.items()}
            try:
                inspect.signature(value).bind(**arguments)
            except TypeError as error:
                raise Refused(f"Field {path}: {error}") from error
            value = value(**arguments)
        return self.answer(value, node.fields, path)


def execute(operation, variables, root, inputs):
    """`root` maps "query" and "mutation" to their fields."""
    values = check_variables(operation, variables, inputs)
    return Resolver(operation, values).answer(root[operation.kind], operation.fields, "")
