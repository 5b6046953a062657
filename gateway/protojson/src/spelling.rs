//! How JSON is printed where no annotation says it.

/// Which names of fields are printed; both are always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// As the proto spells them: `display_name`.
    #[default]
    Proto,
    /// The JSON names: `displayName`.
    Json,
}

/// How 64-bit integers are printed; both are always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Int64 {
    /// As ProtoJSON does, since a JavaScript number has 53 bits.
    #[default]
    String,
    /// As numbers.
    Number,
}

/// How enum values are printed; every spelling is always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enums {
    /// The full name, unless an annotation asks for the short one.
    #[default]
    Full,
    /// In lower case without the enum's name.
    Short,
}

/// How JSON is printed where no annotation says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spelling {
    /// Names of fields.
    pub names: Names,
    /// 64-bit integers.
    pub int64: Int64,
    /// Enum values.
    pub enums: Enums,
}
