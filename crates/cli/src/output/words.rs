//! The words of the API as people read them, each with its tone.

use anstyle::{AnsiColor, Style};
use clos_proto::v2 as pb;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn on() -> Self {
        Self(true)
    }

    pub(crate) fn off() -> Self {
        Self(false)
    }

    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    /// The text in the tone's colour.
    pub(crate) fn apply(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Faint => Style::new().dimmed(),
        };
        self.styled(style, text)
    }

    /// The same, with a glyph that says it without colour.
    pub(crate) fn word(self, tone: Tone, text: &str) -> String {
        match glyph(tone) {
            Some(glyph) if self.0 => self.apply(tone, &format!("{glyph} {text}")),
            _ => self.apply(tone, text),
        }
    }

    /// A colour of its own for each name, the same each time.
    pub(crate) fn named(self, name: &str, text: &str) -> String {
        const COLOURS: [AnsiColor; 10] = [
            AnsiColor::Cyan,
            AnsiColor::Yellow,
            AnsiColor::Green,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::BrightCyan,
            AnsiColor::BrightYellow,
            AnsiColor::BrightGreen,
            AnsiColor::BrightMagenta,
            AnsiColor::BrightBlue,
        ];
        // FNV-1a: small, and the same on every machine.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        self.styled(COLOURS[hash as usize % COLOURS.len()].on_default(), text)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.0 { format!("{}{text}{}", style.render(), style.render_reset()) } else { text.to_owned() }
    }
}

/// The glyph beside a colour.
pub(crate) fn glyph(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Good => Some("✔"),
        Tone::Warn => Some("!"),
        Tone::Bad => Some("✘"),
        Tone::Plain | Tone::Faint => None,
    }
}

/// `shop`, `shop~x`.
pub(crate) fn group_name(name: &str, instance: &str) -> String {
    if instance.is_empty() { name.to_owned() } else { format!("{name}~{instance}") }
}

/// `shop/web`.
pub(crate) fn service_name(service: &pb::Service) -> String {
    format!("{}/{}", group_name(&service.group, &service.instance), service.name)
}

pub(crate) fn service_status(status: pb::ServiceStatus) -> (&'static str, Tone) {
    match status {
        pb::ServiceStatus::Running => ("running", Tone::Good),
        pb::ServiceStatus::Stopped => ("stopped", Tone::Plain),
        pb::ServiceStatus::Failed => ("failed", Tone::Bad),
        pb::ServiceStatus::Starting => ("starting", Tone::Warn),
        pb::ServiceStatus::Stopping => ("stopping", Tone::Warn),
        pb::ServiceStatus::Unhealthy => ("unhealthy", Tone::Bad),
        pb::ServiceStatus::Unspecified => ("unknown", Tone::Warn),
    }
}

pub(crate) fn health(health: pb::HealthStatus) -> (&'static str, Tone) {
    match health {
        pb::HealthStatus::Healthy => ("healthy", Tone::Good),
        pb::HealthStatus::Unhealthy => ("unhealthy", Tone::Bad),
        pb::HealthStatus::Starting => ("starting", Tone::Warn),
        pb::HealthStatus::Unspecified => ("-", Tone::Plain),
    }
}

pub(crate) fn operation_status(status: pb::OperationStatus) -> (&'static str, Tone) {
    match status {
        pb::OperationStatus::Pending => ("pending", Tone::Faint),
        pb::OperationStatus::InProgress => ("in progress", Tone::Warn),
        pb::OperationStatus::Completed => ("completed", Tone::Good),
        pb::OperationStatus::Failed => ("failed", Tone::Bad),
        pb::OperationStatus::Cancelled => ("cancelled", Tone::Warn),
        pb::OperationStatus::Unspecified => ("unknown", Tone::Warn),
    }
}

pub(crate) fn verb(kind: pb::OperationType) -> &'static str {
    match kind {
        pb::OperationType::Up => "up",
        pb::OperationType::Start => "start",
        pb::OperationType::Stop => "stop",
        pb::OperationType::Restart => "restart",
        pb::OperationType::Recreate => "recreate",
        pb::OperationType::Down => "down",
        pb::OperationType::Unspecified => "operation",
    }
}

pub(crate) fn action(action: pb::StepAction) -> &'static str {
    match action {
        pb::StepAction::Pull => "pull",
        pb::StepAction::Build => "build",
        pb::StepAction::Network => "network",
        pb::StepAction::Volume => "volume",
        pb::StepAction::Create => "create",
        pb::StepAction::Start => "start",
        pb::StepAction::Wait => "wait",
        pb::StepAction::Stop => "stop",
        pb::StepAction::Remove => "remove",
        pb::StepAction::Rename => "rename",
        pb::StepAction::Pause => "pause",
        pb::StepAction::Unpause => "unpause",
        pb::StepAction::Unspecified => "step",
    }
}

pub(crate) fn severity(severity: pb::Severity) -> Tone {
    match severity {
        pb::Severity::Warning => Tone::Warn,
        pb::Severity::Error | pb::Severity::Critical => Tone::Bad,
        pb::Severity::Debug => Tone::Faint,
        pb::Severity::Info | pb::Severity::Unspecified => Tone::Plain,
    }
}
