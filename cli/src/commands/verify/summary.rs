//! The report of `mbvc verify` as text.

use super::report::{Engine, First, LayersReport, LogitsReport, Report, Side, Top1, ValueReport, Worst};
use crate::ui::{self, ACCENT, BOLD, DIM, ERROR, GOOD, outln, plural};

impl Report {
    /// Prints the report as text.
    pub fn show_summary(&self) {
        let Side { name, resolution: [height, width], precision, fusion, isa, numerics, .. } = &self.network;
        let Engine { name: engine, version } = &self.engine;
        let numerics = numerics.as_ref().map_or_else(String::new, |numerics| format!(", {numerics}"));
        let how = format!("{name} {height}x{width}, {precision}, fusion {fusion}, {isa}{numerics}");
        outln!("{BOLD}{}{BOLD:#}  {DIM}{how}{DIM:#}", self.weights);
        outln!("{BOLD}{}{BOLD:#}  {DIM}{engine} {version}{DIM:#}\n", self.model);
        for (what, text) in self.rows() {
            outln!("  {DIM}{what:<14}{DIM:#}{text}");
        }
        outln!();
        let (images, Top1 { agree, of }) = (plural(self.images, "image"), &self.top1);
        let largest = self.logits.largest_difference;
        if self.agree {
            let within = match largest {
                0.0 => "all logits are equal".to_owned(),
                largest => format!("logits agree within {}", self.amount(largest)),
            };
            outln!("{GOOD}same{GOOD:#}  {within} on {images}, top-1 {agree} of {of}");
            return;
        }
        let verdict = match self.logits.differing_images {
            0 => format!("logits agree within {}, but a layer differs", self.amount(largest)),
            differing => format!("logits differ by up to {} on {differing} of {images}", self.amount(largest)),
        };
        let tolerated = match self.is_quantized() {
            true => steps(self.tolerance),
            false => format!("{} of the largest", brief(self.tolerance)),
        };
        outln!("{ERROR}different{ERROR:#}  {verdict}, top-1 {agree} of {of}; tolerated: {tolerated}");
        match &self.layers.first_difference {
            Some(first) => first.show(&self.model, self.is_quantized()),
            None if self.layers.images == 0 => ui::note("--layers 1 or more finds the first layer that differs"),
            None => {
                ui::note("no layer of the reference interpreter differs on these images, so the kernels are wrong");
                ui::help("try --isa portable and --fusion none, and please report it with the spec and the weights");
            }
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let LogitsReport { largest_difference, mean_difference, relative, step, worst, .. } = &self.logits;
        let top1 = ("top-1", format!("{} of {}", self.top1.agree, self.top1.of));
        let layers = ("layers", self.layers.summary(self.is_quantized()));
        let Some(Worst { image, class, ours, theirs, .. }) = worst.as_ref().filter(|_| *largest_difference != 0.0)
        else {
            return vec![("logits", "no difference".to_owned()), top1, layers];
        };
        let [ours, theirs] = [ours, theirs].map(|logit| number(logit * step.unwrap_or(1.0)));
        vec![
            (
                "logits",
                format!("at most {}, {} of the largest logit", self.amount(*largest_difference), brief(*relative)),
            ),
            ("on average", self.amount(*mean_difference)),
            top1,
            ("worst image", format!("{image}, class {class}: {ours}, expected {theirs}")),
            layers,
        ]
    }

    /// A difference of logits in its unit.
    fn amount(&self, difference: f64) -> String {
        match self.logits.step {
            Some(step) => format!("{} ({})", steps(difference), brief(difference * step)),
            None => brief(difference),
        }
    }
}

impl LayersReport {
    fn summary(&self, quantized: bool) -> String {
        let (values, images) = (plural(self.values.len(), "tensor"), plural(self.images, "image"));
        if self.images == 0 {
            return "not compared".to_owned();
        }
        let severity = |value: &ValueReport| value.relative.unwrap_or(value.difference);
        let further = |best, next| if severity(next) > severity(best) { next } else { best };
        match self.values.iter().reduce(further).filter(|furthest| furthest.difference > 0.0) {
            None => format!("{values} on {images}, no difference"),
            Some(furthest) => {
                format!("{values} on {images}, largest difference in {}: {}", furthest.node, furthest.amount(quantized))
            }
        }
    }
}

impl ValueReport {
    fn amount(&self, quantized: bool) -> String {
        match self.relative.filter(|_| !quantized) {
            Some(relative) => format!("{} ({} of the largest)", brief(self.difference), brief(relative)),
            None => steps(self.difference),
        }
    }
}

impl First {
    fn show(&self, model: &str, quantized: bool) {
        const SHOWN: usize = 6;
        let ValueReport { node, tensor, index, image, differing, .. } = &self.value;
        let index = index.map_or_else(String::new, |index| format!("{index}, "));
        let number_of = self.number.map_or_else(String::new, |number| format!(", layer {number} of the table"));
        let after = node.strip_prefix(&self.layer).and_then(|after| after.strip_prefix('.'));
        let after = after.map_or_else(String::new, |activation| format!(" after {activation}"));
        outln!("\n{BOLD}first layer that differs: {}{BOLD:#}{after}{number_of}, step {}", self.layer, self.step);
        outln!("  {}:{}  {ACCENT}{}{ACCENT:#}", self.spec, self.line, self.text);
        outln!("  tensor {index}'{}' of {model}", shorten(tensor));
        let [row, column, channel] = self.at;
        let (ours, theirs) = (number(self.ours), number(self.theirs));
        let amount = self.value.amount(quantized);
        outln!("  {amount} at row {row}, column {column}, channel {channel}: {ours}, expected {theirs}");
        let [height, width, channels] = self.shape;
        let listed: Vec<String> = self.channels.iter().take(SHOWN).map(ToString::to_string).collect();
        let (listed, more) = (listed.join(", "), if self.channels.len() > SHOWN { ", ..." } else { "" });
        outln!("  {differing} of {} values of {height}x{width}x{channels} differ", self.elements);
        outln!("  in {} of {channels} channels: {listed}{more}", self.channels.len());
        outln!("  on {image}; it differs on {}", plural(self.images, "image"));
    }
}

/// A tensor name that fits a line: TFLite lists everything that was fused.
fn shorten(name: &str) -> String {
    const LONGEST: usize = 72;
    let more = if name.chars().nth(LONGEST).is_some() { "…" } else { "" };
    name.chars().take(LONGEST).flat_map(char::escape_debug).chain(more.chars()).collect()
}

/// A value with the digits of float32.
fn number(value: f64) -> String {
    (value as f32).to_string()
}

fn brief(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number.is_finite() => format!("{number:.1e}"),
        _ => "not a number".to_owned(),
    }
}

fn steps(difference: f64) -> String {
    match difference {
        1.0 => "1 step".to_owned(),
        whole if whole.fract() == 0.0 => format!("{whole} steps"),
        difference => format!("{} steps", brief(difference)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_formatted() {
        assert_eq!([0.0, 1.0, 12.0, 0.25].map(steps), ["0 steps", "1 step", "12 steps", "2.5e-1 steps"]);
        assert_eq!([0.0, 3.14e-6, f64::INFINITY].map(brief), ["0", "3.1e-6", "not a number"]);
        assert_eq!(shorten("a\nb"), "a\\nb");
        assert_eq!(shorten(&"x".repeat(500)).chars().count(), 73);
        assert_eq!(number(f64::from(0.1_f32)), "0.1");
    }
}
