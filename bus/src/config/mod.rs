//! Configuration documents. The types here are the schema: `schemars` derives it, `serde` reads it, and
//! every field's comment is the operator's manual.

mod archiver;
mod controlplane;
mod dataplane;
mod features;
mod feeds;
mod gateway;
mod health;
mod load;
mod risk;
mod strategy;
mod strategy_kinds;
mod up;
mod validate;

pub use archiver::{ArchiverDocument, BatchSection, RetentionSection};
pub use controlplane::{ControlplaneDocument, ControlplaneLimits, TlsSection};
pub use dataplane::{
    BackendChoice, ControlSection, DataplaneDocument, PublisherSection, ReceiveSection, StatusSection,
    WaitStrategy, WorkerSection, XdpModeChoice,
};
pub use features::{
    Bars, Change, FEATURE_LEVELS_MAX, FEATURE_SET_NAME_BYTES_MAX, FEATURE_SETS_MAX, FEATURE_VALUES_MAX,
    FEATURE_WINDOW_MAX, Feature, FeatureSet, FeaturesDocument, InstrumentKey, PublishSection, StateSection,
};
pub use feeds::{Feed, FeedLine, FeedLines, FeedProtocol, FeedsDocument, Filter, FilterAction};
pub use gateway::{
    FixSection, GATEWAY_SESSIONS_MAX, GatewayDocument, GatewayLimits, GatewaySession, OuchSection,
    ReconnectSection, TimeOfDay,
};
pub use health::HealthSection;
pub use load::{DOCUMENT_BYTES_MAX, DocumentError, load_document};
pub use risk::{
    InstrumentLimits, InstrumentOverride, PriceText, RISK_INSTRUMENTS_MAX, RISK_RECENT_MAX, Restriction,
    RiskDocument, SessionHours, TotalLimits, Weekday,
};
pub use strategy::{
    InstrumentChoice, InstrumentName, OpeningPosition, OpeningReports, STRATEGIES_MAX,
    STRATEGY_INSTRUMENTS_MAX, StrategyDocument, StrategyEntry, StrategyKind,
};
pub use strategy_kinds::{
    FairPrice, Fires, ModelChoice, ModelSection, OfiMomentumSection, OfiSource, QuoteHours, QuoterSection,
    RULE_EXPRESSION_BYTES_MAX, RULES_MAX, Rule, RuleAction, RuleOrder, RulePrice, RuleTimeInForce,
    RulesSection, STRATEGY_QUANTITY_MAX, STRATEGY_TICKS_MAX, VersionChoice,
};
pub use up::{
    ArchiverUp, ControlplaneUp, DataplaneUp, FeaturesUp, GatewayUp, StrategyUp, UP_CONTROLPLANE_PORT,
    UP_SERVICES, UpDocument,
};
pub use validate::{
    FEED_NAME_BYTES_MAX, FEEDS_MAX, FILTERS_MAX, GAP_TIMEOUT_US_MAX, Problem, WINDOW_PACKETS_MAX,
};
