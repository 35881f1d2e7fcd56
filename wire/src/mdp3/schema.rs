//! A template XML, compiled: which templates there are, and how each is read.
//!
//! Templates are told apart by name, not by number: the name with the template id cut off its end
//! (`MDIncrementalRefreshBook32` and `…Book46` are both `MDIncrementalRefreshBook`). So a schema version that
//! moves a message to a new id needs no new code. A file that is not what it should be is refused with the
//! element and its place, never half taken.

use super::plan::{EntryPlan, InstrumentPlan, Int, LotPlan, OrderPlan, RootPlan};
use super::xml::{Field, Primitive, Types, clip, local, number, required};
use roxmltree::{Document, Node, ParsingOptions};
use std::fmt;

/// A small template XML of the project's own, with the names, ids and shapes of the public specification:
/// for the venue and for tests where no exchange file is at hand.
pub const FIXTURE: &str = include_str!("fixture.xml");

/// What a template is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The channel starts over.
    ChannelReset,
    /// A sign of life.
    Heartbeat,
    /// Trading status of an instrument or a group of them.
    SecurityStatus,
    /// Book by price, and in newer versions the orders behind it.
    Book,
    /// Book by order.
    OrderBook,
    /// Trades.
    Trade,
    /// Traded volume.
    Volume,
    /// Settlement prices, open interest, cleared volume, fixing prices.
    DailyStatistics,
    /// Price limits.
    Limits,
    /// Open, high, low and the like.
    SessionStatistics,
    /// Snapshot by price.
    Snapshot,
    /// Snapshot by order.
    OrderSnapshot,
    /// Definition of a future.
    DefinitionFuture,
    /// Definition of an option.
    DefinitionOption,
    /// Definition of a spread or another combination.
    DefinitionSpread,
    /// Definition of anything else (fixed income, repo, FX).
    DefinitionOther,
    /// Known by the schema, of no use to a feed (logins, quote requests, collateral values).
    Other,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            "ChannelReset" => Kind::ChannelReset,
            "AdminHeartbeat" => Kind::Heartbeat,
            "SecurityStatus" | "SecurityStatusWorkup" => Kind::SecurityStatus,
            "MDIncrementalRefreshBook" | "MDIncrementalRefreshBookLongQty" => Kind::Book,
            "MDIncrementalRefreshOrderBook" => Kind::OrderBook,
            "MDIncrementalRefreshTrade"
            | "MDIncrementalRefreshTradeSummary"
            | "MDIncrementalRefreshTradeSummaryLongQty" => Kind::Trade,
            "MDIncrementalRefreshVolume" | "MDIncrementalRefreshVolumeLongQty" => Kind::Volume,
            "MDIncrementalRefreshDailyStatistics" => Kind::DailyStatistics,
            "MDIncrementalRefreshLimitsBanding" => Kind::Limits,
            "MDIncrementalRefreshSessionStatistics" | "MDIncrementalRefreshSessionStatisticsLongQty" => {
                Kind::SessionStatistics
            }
            "SnapshotFullRefresh"
            | "SnapshotFullRefreshLongQty"
            | "SnapshotFullRefreshTCP"
            | "SnapshotFullRefreshTCPLongQty" => Kind::Snapshot,
            "SnapshotFullRefreshOrderBook" | "SnapshotRefreshTopOrders" => Kind::OrderSnapshot,
            "MDInstrumentDefinitionFuture" => Kind::DefinitionFuture,
            "MDInstrumentDefinitionOption" => Kind::DefinitionOption,
            "MDInstrumentDefinitionSpread" => Kind::DefinitionSpread,
            other if other.starts_with("MDInstrumentDefinition") => Kind::DefinitionOther,
            _ => Kind::Other,
        }
    }
}

/// What is wrong with a template XML.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaProblem {
    /// The file is larger than any schema can be.
    #[error("{bytes} bytes; a schema has at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not XML.
    #[error("not readable as XML: {0}")]
    NotXml(String),
    /// Another document.
    #[error("the root element is not messageSchema")]
    NotASchema,
    /// An attribute is not there.
    #[error("attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute is not a number from 0 to 65535.
    #[error("attribute {attribute} is {text:?}, not a number from 0 to 65535")]
    BadNumber {
        /// The attribute.
        attribute: &'static str,
        /// What it says.
        text: String,
    },
    /// A constant, a null value or a keyword that does not fit.
    #[error("{0:?} is not a value of this type")]
    BadLiteral(String),
    /// A type that is neither primitive nor declared.
    #[error("type {0:?} is not declared")]
    UnknownType(String),
    /// SBE that this decoder does not read.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A field reaches past its block.
    #[error("the field ends at byte {end} of a block of {block}")]
    OutsideBlock {
        /// Where it ends.
        end: usize,
        /// The block's length.
        block: usize,
    },
    /// The message header or a group dimension has another shape than SBE gives it.
    #[error("{0} has not the shape that it must have")]
    Shape(&'static str),
    /// A name or id that is there twice.
    #[error("the same {0} is there twice")]
    Duplicate(&'static str),
    /// More of something than any schema needs.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A message whose name says what it is, without a field that it cannot do without.
    #[error("the message has no {0}")]
    Lacks(&'static str),
}

/// A template XML that is refused: the problem, the element and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaError {
    /// What is wrong.
    pub problem: SchemaProblem,
    /// The element with its name attribute, cut to a readable length; empty when it is the file itself.
    pub element: String,
    /// Line, from 1; 0 when it is the file itself.
    pub line: u32,
    /// Column, from 1; 0 when it is the file itself.
    pub column: u32,
}

impl SchemaError {
    #[cold]
    pub(super) fn at(node: Node<'_, '_>, problem: SchemaProblem) -> SchemaError {
        let place = node.document().text_pos_at(node.range().start);
        let name = node.attribute("name").map_or_else(String::new, |name| format!(" name={:?}", clip(name)));
        let element = format!("<{}{name}>", clip(node.tag_name().name()));
        SchemaError { problem, element, line: place.row, column: place.col }
    }

    fn file(problem: SchemaProblem) -> SchemaError {
        SchemaError { problem, element: String::new(), line: 0, column: 0 }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}, {}: ", self.line, self.column, self.element)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for SchemaError {}

/// An unsigned number in a group dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct DimensionField {
    pub(super) offset: usize,
    pub(super) bytes: usize,
    /// How to read it, the dimension taken as a block.
    pub(super) read: Int,
}

/// The header of a repeating group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dimension {
    pub(super) block_length: DimensionField,
    pub(super) count: DimensionField,
    /// Bytes of the whole header, padding included.
    pub(super) bytes: usize,
}

/// A repeating group of a template.
#[derive(Clone, Debug)]
pub struct GroupDef {
    /// Name.
    pub name: Box<str>,
    /// First schema version that has it.
    pub since: u16,
    /// Entry block length in this schema version, bytes.
    pub block_length: usize,
    /// Fields of an entry.
    pub fields: Vec<Field>,
    pub(super) dimension: Dimension,
}

/// One message template: its fields, and the plans by which the feed reads it.
#[derive(Clone, Debug)]
pub struct Template {
    /// Template id.
    pub id: u16,
    /// Name as in the XML.
    pub name: Box<str>,
    /// What it is for.
    pub kind: Kind,
    /// Root block length in this schema version, bytes.
    pub block_length: usize,
    /// Fields of the root block.
    pub fields: Vec<Field>,
    /// Groups in wire order.
    pub groups: Vec<GroupDef>,
    /// The root block's plan.
    pub root: RootPlan,
    /// Which group is NoMDEntries, and its plan.
    pub entries: Option<(usize, EntryPlan)>,
    /// Which group is NoOrderIDEntries, and its plan.
    pub orders: Option<(usize, OrderPlan)>,
    /// The root block's plan as an instrument definition.
    pub instrument: InstrumentPlan,
    /// Which group is NoLotTypeRules, and its plan.
    pub lots: Option<(usize, LotPlan)>,
}

/// A compiled template XML.
#[derive(Clone, Debug)]
pub struct Schema {
    id: u16,
    version: u16,
    templates: Vec<Template>,
    /// Index in `templates` by template id, `NONE` where there is none.
    by_id: Vec<u16>,
}

const NONE: u16 = u16::MAX;

impl Schema {
    /// Largest XML taken, bytes; CME's newest is 147 KB.
    pub const XML_BYTES_MAX: usize = 4 << 20;
    /// Most templates; CME's newest has 37.
    pub const TEMPLATES_MAX: usize = 1024;
    /// Most fields of one block, composites taken apart; CME's largest has 60.
    pub const FIELDS_MAX: usize = 512;
    /// Most groups of one template; CME's largest has 8.
    pub const GROUPS_MAX: usize = 32;

    /// Compiles a template XML (SBE 1.0 message schema).
    ///
    /// # Errors
    /// The first thing wrong, with the element and its place. Document type declarations are refused.
    pub fn parse(xml: &str) -> Result<Schema, SchemaError> {
        if xml.len() > Schema::XML_BYTES_MAX {
            let problem = SchemaProblem::TooLarge { bytes: xml.len(), limit: Schema::XML_BYTES_MAX };
            return Err(SchemaError::file(problem));
        }
        let document = Document::parse_with_options(xml, ParsingOptions::default())
            .map_err(|error| SchemaError::file(SchemaProblem::NotXml(error.to_string())))?;
        let root = document.root_element();
        if !local(&root, "messageSchema") {
            return Err(SchemaError::at(root, SchemaProblem::NotASchema));
        }
        if !matches!(root.attribute("byteOrder"), None | Some("littleEndian")) {
            return Err(SchemaError::at(root, SchemaProblem::Unsupported("this byte order")));
        }
        let types = Types::read(root)?;
        check_message_header(root, &types)?;
        let mut schema = Schema {
            id: number(root, "id")?.ok_or_else(|| SchemaError::at(root, SchemaProblem::Missing("id")))?,
            version: number(root, "version")?.unwrap_or(0),
            templates: Vec::new(),
            by_id: Vec::new(),
        };
        for node in root.children().filter(|node| local(node, "message")) {
            schema.add(node, &types)?;
        }
        Ok(schema)
    }

    fn add(&mut self, node: Node<'_, '_>, types: &Types<'_>) -> Result<(), SchemaError> {
        if self.templates.len() == Schema::TEMPLATES_MAX {
            let problem = SchemaProblem::TooMany { what: "messages", limit: Schema::TEMPLATES_MAX };
            return Err(SchemaError::at(node, problem));
        }
        let template = Template::parse(node, types)?;
        let place = usize::from(template.id);
        if place >= self.by_id.len() {
            self.by_id.resize(place + 1, NONE);
        }
        if self.by_id[place] != NONE {
            return Err(SchemaError::at(node, SchemaProblem::Duplicate("message id")));
        }
        self.by_id[place] = self.templates.len() as u16;
        self.templates.push(template);
        Ok(())
    }

    /// The schema's id; a message of another schema is not read by it.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The schema's version.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Every template, in the file's order.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// Place in [`Schema::templates`] of the template with this id.
    #[inline]
    pub fn index_of(&self, template_id: u16) -> Option<usize> {
        match self.by_id.get(usize::from(template_id)) {
            Some(&index) if index != NONE => Some(usize::from(index)),
            _ => None,
        }
    }

    /// The template with this id.
    #[inline]
    pub fn template(&self, template_id: u16) -> Option<&Template> {
        self.index_of(template_id).and_then(|index| self.templates.get(index))
    }

    /// The template for a purpose; the one with the highest id, which is the current one, when there are more.
    pub fn latest(&self, kind: Kind) -> Option<&Template> {
        self.templates.iter().filter(|template| template.kind == kind).max_by_key(|template| template.id)
    }
}

/// The framing code reads the message header at fixed places; a schema that shapes it otherwise is refused.
fn check_message_header(root: Node<'_, '_>, types: &Types<'_>) -> Result<(), SchemaError> {
    let expected = ["blockLength", "templateId", "schemaId", "version"];
    let fits = types.parts("messageHeader").is_some_and(|parts| {
        parts.len() == expected.len()
            && parts.iter().zip(expected).enumerate().all(|(index, (part, name))| {
                &*part.name == name
                    && part.primitive == Primitive::UInt16
                    && part.constant.is_none()
                    && part.offset == 2 * index
            })
    });
    if fits {
        Ok(())
    } else {
        Err(SchemaError::at(root, SchemaProblem::Shape("the messageHeader composite")))
    }
}

impl Template {
    fn parse(node: Node<'_, '_>, types: &Types<'_>) -> Result<Template, SchemaError> {
        let id: u16 =
            number(node, "id")?.ok_or_else(|| SchemaError::at(node, SchemaProblem::Missing("id")))?;
        let name = required(node, "name")?;
        let block = BlockDef::parse(node, types)?;
        let mut groups = Vec::new();
        for child in node.children().filter(|child| local(child, "group")) {
            if groups.len() == Schema::GROUPS_MAX {
                let problem = SchemaProblem::TooMany { what: "groups", limit: Schema::GROUPS_MAX };
                return Err(SchemaError::at(child, problem));
            }
            groups.push(GroupDef::parse(child, types)?);
        }
        let plan = |name: &str| groups.iter().position(|group| &*group.name == name);
        let entries = plan("NoMDEntries").map(|at| (at, EntryPlan::new(&groups[at].fields)));
        let orders = plan("NoOrderIDEntries").map(|at| (at, OrderPlan::new(&groups[at].fields)));
        let lots = plan("NoLotTypeRules").map(|at| (at, LotPlan::new(&groups[at].fields)));
        let template = Template {
            id,
            name: name.into(),
            kind: Kind::of(name.strip_suffix(&id.to_string()).unwrap_or(name)),
            block_length: block.length,
            root: RootPlan::new(&block.fields),
            instrument: InstrumentPlan::new(&block.fields),
            fields: block.fields,
            groups,
            entries,
            orders,
            lots,
        };
        match template.lacks() {
            None => Ok(template),
            Some(what) => Err(SchemaError::at(node, SchemaProblem::Lacks(what))),
        }
    }

    /// What a message of this kind cannot be read without.
    fn lacks(&self) -> Option<&'static str> {
        let per_entry = matches!(
            self.kind,
            Kind::Book
                | Kind::OrderBook
                | Kind::Trade
                | Kind::Volume
                | Kind::DailyStatistics
                | Kind::Limits
                | Kind::SessionStatistics
        );
        let snapshot = matches!(self.kind, Kind::Snapshot | Kind::OrderSnapshot);
        let definition = matches!(
            self.kind,
            Kind::DefinitionFuture | Kind::DefinitionOption | Kind::DefinitionSpread | Kind::DefinitionOther
        );
        let entry = self.entries.map(|(_, plan)| plan);
        if (per_entry || snapshot) && entry.is_none() {
            return Some("NoMDEntries group");
        }
        if per_entry && !entry.is_some_and(|plan| plan.security_id.is_present())
            || (snapshot || definition) && !self.root.security_id.is_present()
        {
            return Some("SecurityID");
        }
        if (per_entry || snapshot) && !entry.is_some_and(|plan| plan.entry_type.is_present()) {
            return Some("MDEntryType");
        }
        None
    }
}

/// The fields of a `<message>` or `<group>` element.
struct BlockDef {
    length: usize,
    fields: Vec<Field>,
}

impl BlockDef {
    fn parse(node: Node<'_, '_>, types: &Types<'_>) -> Result<BlockDef, SchemaError> {
        let declared: Option<usize> = number(node, "blockLength")?;
        let mut fields = Vec::new();
        let (mut next, mut length) = (0, 0);
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "field" => {}
                "group" => continue,
                "data" => {
                    return Err(SchemaError::at(child, SchemaProblem::Unsupported("variable-length data")));
                }
                _ => return Err(SchemaError::at(child, SchemaProblem::Unsupported("this element"))),
            }
            let end = types.field(child, next, &mut fields)?;
            if let Some(block) = declared.filter(|&block| end > block) {
                return Err(SchemaError::at(child, SchemaProblem::OutsideBlock { end, block }));
            }
            if fields.len() > Schema::FIELDS_MAX {
                let problem = SchemaProblem::TooMany { what: "fields", limit: Schema::FIELDS_MAX };
                return Err(SchemaError::at(child, problem));
            }
            next = end;
            length = length.max(end);
        }
        Ok(BlockDef { length: declared.unwrap_or(length), fields })
    }
}

impl GroupDef {
    fn parse(node: Node<'_, '_>, types: &Types<'_>) -> Result<GroupDef, SchemaError> {
        if let Some(nested) = node.children().find(|child| local(child, "group")) {
            return Err(SchemaError::at(nested, SchemaProblem::Unsupported("a group inside a group")));
        }
        let kind = node.attribute("dimensionType").unwrap_or("groupSizeEncoding");
        let parts =
            types.parts(kind).ok_or_else(|| SchemaError::at(node, SchemaProblem::UnknownType(clip(kind))))?;
        let part = |name: &str| {
            let found = parts.iter().find(|part| &*part.name == name && part.constant.is_none())?;
            let counts = matches!(found.primitive, Primitive::UInt8 | Primitive::UInt16 | Primitive::UInt32);
            counts.then(|| DimensionField {
                offset: found.offset,
                bytes: found.bytes(),
                read: Int::new(found),
            })
        };
        let (Some(block_length), Some(count)) = (part("blockLength"), part("numInGroup")) else {
            return Err(SchemaError::at(node, SchemaProblem::Shape("the group's dimension type")));
        };
        let bytes = parts.iter().map(|part| part.offset + part.bytes()).max().unwrap_or(0);
        let block = BlockDef::parse(node, types)?;
        Ok(GroupDef {
            name: required(node, "name")?.into(),
            since: number(node, "sinceVersion")?.unwrap_or(0),
            block_length: block.length,
            fields: block.fields,
            dimension: Dimension { block_length, count, bytes },
        })
    }
}
