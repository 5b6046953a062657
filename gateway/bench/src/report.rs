//! The figures as they are printed: what was measured, and what it was to be.

/// A figure and its goal.
#[derive(Debug)]
pub(crate) struct Goal {
    what: String,
    figure: String,
    target: String,
    is_reached: bool,
}

impl Goal {
    pub(crate) fn at_most(what: impl Into<String>, figure: f64, unit: &str, limit: f64) -> Self {
        Self::new(what.into(), figure, unit, format!("≤ {}", shown(limit)), figure <= limit)
    }

    pub(crate) fn at_least(what: impl Into<String>, figure: f64, unit: &str, limit: f64) -> Self {
        Self::new(what.into(), figure, unit, format!("≥ {}", shown(limit)), figure >= limit)
    }

    fn new(what: String, figure: f64, unit: &str, target: String, is_reached: bool) -> Self {
        Self {
            what,
            figure: format!("{} {unit}", shown(figure)),
            target: format!("{target} {unit}"),
            is_reached,
        }
    }

    /// Says what a ratio was made of.
    pub(crate) fn of(mut self, parts: impl std::fmt::Display) -> Self {
        self.figure = format!("{} ({parts})", self.figure);
        self
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    tables: Vec<String>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A table with the names of its columns and its rows.
    pub(crate) fn table(&mut self, columns: &[&str], rows: &[Vec<String>]) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        let rule = vec!["---".to_owned(); columns.len()];
        let rows = rows.iter().map(|row| line(row));
        self.tables.push([line(&columns), line(&rule)].into_iter().chain(rows).collect());
    }

    /// All of it: the goals first, since they are what is asked.
    pub(crate) fn markdown(mut self) -> String {
        let goals: Vec<Vec<String>> = std::mem::take(&mut self.goals)
            .into_iter()
            .map(|it| {
                vec![it.what, it.figure, it.target, if it.is_reached { "yes" } else { "no" }.to_owned()]
            })
            .collect();
        let others = std::mem::take(&mut self.tables);
        self.table(&["what", "figure", "target", "reached"], &goals);
        self.tables.extend(others);
        self.tables.extend((!self.notes.is_empty()).then(|| format!("{}\n", self.notes.join("\n"))));
        self.tables.join("\n")
    }
}

/// Three digits that mean something.
pub(crate) fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size.fract() == 0.0 => format!("{figure:.0}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_limit() {
        let mut report = Report::default();
        report.table(&["a"], &[vec!["1".to_owned()]]);
        report.goal(Goal::at_most("slow", 1.3, "×", 1.3).of("13 µs, 10 µs"));
        report.goal(Goal::at_least("fast", 4.994, "×", 5.0));
        report.note("One core.");
        assert_eq!(
            report.markdown(),
            "| what | figure | target | reached |\n| --- | --- | --- | --- |\n\
             | slow | 1.30 × (13 µs, 10 µs) | ≤ 1.30 × | yes |\n| fast | 4.99 × | ≥ 5 × | no |\n\
             \n| a |\n| --- |\n| 1 |\n\nOne core.\n"
        );
    }
}
