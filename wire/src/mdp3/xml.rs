//! Types of a template XML, resolved: what a `<type>`, `<composite>`, `<enum>` or `<set>` is on the wire.
//!
//! Composites are flattened: a field `MDEntryPx` of a composite with parts `mantissa` and `exponent` becomes
//! the two fields `MDEntryPx.mantissa` and `MDEntryPx.exponent`. What is left are integers, constants and
//! character arrays, which is all that CME's templates are made of; anything else is refused by name.

use super::schema::{SchemaError, SchemaProblem};
use super::{Block, Int};
use roxmltree::Node;
use std::collections::HashMap;

/// A primitive type of SBE 1.0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Primitive {
    /// One character, or an array of them.
    Char,
    /// Signed, 1 byte.
    Int8,
    /// Signed, 2 bytes.
    Int16,
    /// Signed, 4 bytes.
    Int32,
    /// Signed, 8 bytes.
    Int64,
    /// Unsigned, 1 byte.
    UInt8,
    /// Unsigned, 2 bytes.
    UInt16,
    /// Unsigned, 4 bytes.
    UInt32,
    /// Unsigned, 8 bytes.
    UInt64,
}

impl Primitive {
    fn parse(name: &str) -> Option<Primitive> {
        Some(match name {
            "char" => Primitive::Char,
            "int8" => Primitive::Int8,
            "int16" => Primitive::Int16,
            "int32" => Primitive::Int32,
            "int64" => Primitive::Int64,
            "uint8" => Primitive::UInt8,
            "uint16" => Primitive::UInt16,
            "uint32" => Primitive::UInt32,
            "uint64" => Primitive::UInt64,
            _ => return None,
        })
    }

    /// Size on the wire, bytes (of one character for [`Primitive::Char`]).
    pub const fn bytes(self) -> usize {
        match self {
            Primitive::Char | Primitive::Int8 | Primitive::UInt8 => 1,
            Primitive::Int16 | Primitive::UInt16 => 2,
            Primitive::Int32 | Primitive::UInt32 => 4,
            Primitive::Int64 | Primitive::UInt64 => 8,
        }
    }

    /// Whether the sign bit counts.
    pub const fn is_signed(self) -> bool {
        matches!(self, Primitive::Int8 | Primitive::Int16 | Primitive::Int32 | Primitive::Int64)
    }

    /// SBE 1.0's null value where the schema names none, as the bits of an `i64`.
    const fn default_null(self) -> i64 {
        match self {
            Primitive::Char => 0,
            Primitive::Int8 => i8::MIN as i64,
            Primitive::Int16 => i16::MIN as i64,
            Primitive::Int32 => i32::MIN as i64,
            Primitive::Int64 => i64::MIN,
            Primitive::UInt8 => u8::MAX as i64,
            Primitive::UInt16 => u16::MAX as i64,
            Primitive::UInt32 => u32::MAX as i64,
            Primitive::UInt64 => u64::MAX as i64,
        }
    }

    /// A literal of the schema as the bits of an `i64`; a character by its code.
    fn literal(self, text: &str) -> Option<i64> {
        let number: i128 = match self {
            Primitive::Char => match text.as_bytes() {
                [byte] => i128::from(*byte),
                _ => return None,
            },
            _ => text.parse().ok()?,
        };
        self.fits(number).then_some(number as i64)
    }

    /// Whether a number can be written as this type.
    pub(super) fn fits(self, number: i128) -> bool {
        let bits = 8 * self.bytes() as u32;
        let (low, high) = if self.is_signed() {
            (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
        } else {
            (0, (1i128 << bits) - 1)
        };
        (low..=high).contains(&number)
    }
}

/// One field of a block, as the schema describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Semantic name; a part of a composite is `Field.part`.
    pub name: Box<str>,
    /// Offset in the block, bytes. 0 for a constant.
    pub offset: usize,
    /// Type on the wire.
    pub primitive: Primitive,
    /// Characters of an array; 0 for a single value.
    pub length: usize,
    /// The value that means "none", as the bits of an `i64`.
    pub null: Option<i64>,
    /// The value of a field that is not on the wire, as the bits of an `i64`.
    pub constant: Option<i64>,
    /// First schema version that has the field.
    pub since: u16,
}

/// A field's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// None, or not sent by this version of the sender.
    Null,
    /// A signed integer.
    Int(i64),
    /// An unsigned integer; a bit set or an enumeration by its number.
    UInt(u64),
    /// A single character.
    Char(u8),
    /// Characters, padding included.
    Text(&'a [u8]),
}

impl Field {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        if self.constant.is_some() { 0 } else { self.primitive.bytes() * self.length.max(1) }
    }

    /// Reads the field. For tools and tests: the decoder's way is [`Int::get`].
    pub fn read<'a>(&self, block: &Block<'a>) -> Value<'a> {
        if self.length > 0 {
            return match block.bytes().get(self.offset..self.offset + self.length) {
                Some(text) if self.since <= block.version() => Value::Text(text),
                _ => Value::Null,
            };
        }
        match (Int::new(self).get(block), self.primitive) {
            (None, _) => Value::Null,
            (Some(value), Primitive::Char) => Value::Char(value as u8),
            (Some(value), primitive) if primitive.is_signed() => Value::Int(value),
            (Some(value), _) => Value::UInt(value as u64),
        }
    }
}

/// What a named type is made of. Offsets are within the type.
#[derive(Clone, Debug)]
enum Encoding {
    /// One value or one character array; `Field::name` is not used.
    Simple(Field),
    /// The parts of a composite.
    Composite(Vec<Field>),
}

/// The named types of a schema.
pub(super) struct Types<'a> {
    named: HashMap<&'a str, Encoding>,
}

/// Named types kept at most; CME's newest schema has 60.
const TYPES_MAX: usize = 4096;
/// Parts of one composite at most.
const PARTS_MAX: usize = 64;
/// Longest character array, bytes; CME's longest is 180.
const LENGTH_MAX: usize = 4096;

impl<'a> Types<'a> {
    /// Reads every `<types>` element. Enumerations and sets may name types that come after them, so those
    /// are resolved in a second pass.
    pub(super) fn read(root: Node<'a, 'a>) -> Result<Types<'a>, SchemaError> {
        let mut types = Types { named: HashMap::new() };
        let sections =
            || root.children().filter(|node| local(node, "types")).flat_map(|node| node.children());
        for node in sections().filter(Node::is_element) {
            let encoding = match node.tag_name().name() {
                "type" => Encoding::Simple(simple(node)?),
                "composite" => Encoding::Composite(composite(node)?),
                "enum" | "set" => continue,
                _ => return Err(SchemaError::at(node, SchemaProblem::Unsupported("this kind of type"))),
            };
            types.add(node, encoding)?;
        }
        for node in sections().filter(|node| local(node, "enum") || local(node, "set")) {
            let encoded_as = required(node, "encodingType")?;
            let field = match (types.named.get(encoded_as), Primitive::parse(encoded_as)) {
                (Some(Encoding::Simple(field)), _) if field.length == 0 => field.clone(),
                (Some(_), _) => {
                    return Err(SchemaError::at(
                        node,
                        SchemaProblem::Unsupported("an encoding that is no integer"),
                    ));
                }
                (None, Some(primitive)) => bare(primitive),
                (None, None) => {
                    return Err(SchemaError::at(node, SchemaProblem::UnknownType(clip(encoded_as))));
                }
            };
            types.add(node, Encoding::Simple(field))?;
        }
        Ok(types)
    }

    fn add(&mut self, node: Node<'a, 'a>, encoding: Encoding) -> Result<(), SchemaError> {
        if self.named.len() == TYPES_MAX {
            return Err(SchemaError::at(node, SchemaProblem::TooMany { what: "types", limit: TYPES_MAX }));
        }
        match self.named.insert(required(node, "name")?, encoding) {
            None => Ok(()),
            Some(_) => Err(SchemaError::at(node, SchemaProblem::Duplicate("type name"))),
        }
    }

    /// The fields that a `<field>` element stands for, the first at `offset`, or where its own `offset` says.
    /// Returns where the next field starts.
    pub(super) fn field(
        &self,
        node: Node<'a, 'a>,
        offset: usize,
        into: &mut Vec<Field>,
    ) -> Result<usize, SchemaError> {
        if node.attribute("presence") == Some("constant") {
            return Err(SchemaError::at(node, SchemaProblem::Unsupported("a constant on the field element")));
        }
        let (name, kind) = (required(node, "name")?, required(node, "type")?);
        let offset = number(node, "offset")?.unwrap_or(offset);
        let since = number(node, "sinceVersion")?.unwrap_or(0);
        let mut end = offset;
        let mut place = |part: &Field, name: Box<str>| {
            let at = if part.constant.is_some() { 0 } else { offset + part.offset };
            end = end.max(at + part.bytes());
            into.push(Field { name, offset: at, since, ..part.clone() });
        };
        match (self.named.get(kind), Primitive::parse(kind)) {
            (Some(Encoding::Simple(field)), _) => place(field, name.into()),
            (Some(Encoding::Composite(parts)), _) => {
                for part in parts {
                    place(part, format!("{name}.{}", part.name).into());
                }
            }
            (None, Some(primitive)) => place(&bare(primitive), name.into()),
            (None, None) => return Err(SchemaError::at(node, SchemaProblem::UnknownType(clip(kind)))),
        }
        Ok(end)
    }

    /// The parts of a composite that frames messages or groups.
    pub(super) fn parts(&self, name: &str) -> Option<&[Field]> {
        match self.named.get(name) {
            Some(Encoding::Composite(parts)) => Some(parts),
            _ => None,
        }
    }
}

fn bare(primitive: Primitive) -> Field {
    Field { name: "".into(), offset: 0, primitive, length: 0, null: None, constant: None, since: 0 }
}

/// A `<type>` element.
fn simple(node: Node<'_, '_>) -> Result<Field, SchemaError> {
    let named = required(node, "primitiveType")?;
    let primitive = Primitive::parse(named)
        .ok_or_else(|| SchemaError::at(node, SchemaProblem::UnknownType(clip(named))))?;
    let mut field = Field { name: required(node, "name")?.into(), ..bare(primitive) };
    let length = number::<usize>(node, "length")?.unwrap_or(1);
    if length > LENGTH_MAX {
        return Err(SchemaError::at(node, SchemaProblem::TooMany { what: "characters", limit: LENGTH_MAX }));
    }
    if length != 1 && primitive != Primitive::Char {
        return Err(SchemaError::at(node, SchemaProblem::Unsupported("an array of numbers")));
    }
    field.length = if length == 1 { 0 } else { length };
    let literal = |text: &str| {
        primitive
            .literal(text.trim())
            .ok_or_else(|| SchemaError::at(node, SchemaProblem::BadLiteral(clip(text))))
    };
    match node.attribute("presence") {
        None | Some("required") => {}
        Some("optional") => {
            field.null = Some(match node.attribute("nullValue") {
                Some(text) => literal(text)?,
                None => primitive.default_null(),
            });
        }
        Some("constant") if field.length == 0 => field.constant = Some(literal(node.text().unwrap_or(""))?),
        Some("constant") => return Err(SchemaError::at(node, SchemaProblem::Unsupported("a constant text"))),
        Some(other) => return Err(SchemaError::at(node, SchemaProblem::BadLiteral(clip(other)))),
    }
    Ok(field)
}

/// A `<composite>` element: its parts one after another, or where their `offset` says.
fn composite(node: Node<'_, '_>) -> Result<Vec<Field>, SchemaError> {
    let mut parts = Vec::new();
    let mut end = 0;
    for child in node.children().filter(Node::is_element) {
        if !local(&child, "type") {
            return Err(SchemaError::at(
                child,
                SchemaProblem::Unsupported("this kind of part in a composite"),
            ));
        }
        if parts.len() == PARTS_MAX {
            return Err(SchemaError::at(child, SchemaProblem::TooMany { what: "parts", limit: PARTS_MAX }));
        }
        let mut part = simple(child)?;
        if part.constant.is_none() {
            part.offset = number::<u16>(child, "offset")?.map_or(end, usize::from);
            end = part.offset + part.bytes();
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Whether an element has this name, whatever its namespace.
pub(super) fn local(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

/// An attribute that must be there.
pub(super) fn required<'a>(node: Node<'a, '_>, attribute: &'static str) -> Result<&'a str, SchemaError> {
    node.attribute(attribute).ok_or_else(|| SchemaError::at(node, SchemaProblem::Missing(attribute)))
}

/// A numeric attribute, if it is there. Bounded to 65,535 as every length and version on the wire is.
pub(super) fn number<T: TryFrom<u16>>(
    node: Node<'_, '_>,
    attribute: &'static str,
) -> Result<Option<T>, SchemaError> {
    let Some(text) = node.attribute(attribute) else { return Ok(None) };
    let value = text.trim().parse::<u16>().ok().and_then(|value| T::try_from(value).ok());
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(SchemaError::at(node, SchemaProblem::BadNumber { attribute, text: clip(text) })),
    }
}

/// At most 64 characters of a text for an error message.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
