//! What the descriptors say of the JSON of messages: `transcoding.v1` and
//! `google.api.field_behavior`. Both are read by name, so that nothing has to be
//! compiled in, and a set without them is as good as any.

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor,
    Value,
};

/// The extensions that a pool knows.
pub(crate) struct Rules {
    behavior: Option<ExtensionDescriptor>,
    file: Option<ExtensionDescriptor>,
    field: Option<ExtensionDescriptor>,
    enumeration: Option<ExtensionDescriptor>,
}

/// How the messages of a file are spelled.
#[derive(Default)]
pub(crate) struct FileRules {
    pub(crate) short_enums: bool,
    pub(crate) number64: bool,
}

/// How a field is spelled.
#[derive(Default)]
pub(crate) struct FieldRules {
    pub(crate) csv: bool,
    pub(crate) number64: bool,
    pub(crate) nullable: bool,
    pub(crate) lenient_duration: bool,
}

impl Rules {
    pub(crate) fn of(pool: &DescriptorPool) -> Self {
        Self {
            behavior: pool.get_extension_by_name("google.api.field_behavior"),
            file: pool.get_extension_by_name("transcoding.v1.file"),
            field: pool.get_extension_by_name("transcoding.v1.field"),
            enumeration: pool.get_extension_by_name("transcoding.v1.enumeration"),
        }
    }

    pub(crate) fn file(&self, file: &FileDescriptor) -> FileRules {
        let Some(rules) = extension(&file.options(), self.file.as_ref()) else { return FileRules::default() };
        FileRules { short_enums: flag(&rules, "short_enums"), number64: flag(&rules, "number64") }
    }

    pub(crate) fn field(&self, field: &FieldDescriptor) -> FieldRules {
        let Some(rules) = extension(&field.options(), self.field.as_ref()) else {
            return FieldRules::default();
        };
        FieldRules {
            csv: flag(&rules, "csv"),
            number64: flag(&rules, "number64"),
            nullable: flag(&rules, "nullable"),
            lenient_duration: flag(&rules, "lenient_duration"),
        }
    }

    pub(crate) fn is_short(&self, of: &EnumDescriptor) -> bool {
        extension(&of.options(), self.enumeration.as_ref()).is_some_and(|rules| flag(&rules, "short"))
    }

    /// The words of `google.api.field_behavior`: `REQUIRED`, `OUTPUT_ONLY`.
    pub(crate) fn behaviors(&self, field: &FieldDescriptor) -> Vec<String> {
        let Some(extension) = &self.behavior else { return Vec::new() };
        let options = field.options();
        let value = options.get_extension(extension);
        let kind = extension.kind();
        let numbers = value.as_list().unwrap_or_default().iter().filter_map(Value::as_enum_number);
        let word = |number| Some(kind.as_enum()?.get_value(number)?.name().to_owned());
        numbers.filter_map(word).collect()
    }
}

fn extension(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> Option<DynamicMessage> {
    let extension = extension.filter(|extension| options.has_extension(extension))?;
    options.get_extension(extension).as_message().cloned()
}

fn flag(of: &DynamicMessage, name: &str) -> bool {
    of.get_field_by_name(name).and_then(|value| value.as_bool()).unwrap_or_default()
}
