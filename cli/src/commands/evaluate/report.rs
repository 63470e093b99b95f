//! The report of `mbvc evaluate`.

use mbvc::Network;
use serde::Serialize;

use super::Args;
use super::folders::Folder;
use super::tally::{Score, Tally};
use crate::stream::Seen;
use crate::ui;
use crate::ui::{ACCENT, BOLD, DIM, outln, plural};

#[derive(Serialize)]
pub struct Report {
    network: String,
    precision: &'static str,
    isa: String,
    images: usize,
    skipped: usize,
    /// Images with a correct first prediction.
    first: usize,
    /// Images with the correct class among the first five.
    among_first_five: usize,
    top1_percent: f64,
    top5_percent: f64,
    classes: Vec<Class>,
    mistakes: Vec<Mistake>,
}

#[derive(Serialize)]
struct Class {
    class: String,
    images: usize,
    first: usize,
    among_first_five: usize,
}

/// Wrong predictions of one class for another.
#[derive(Serialize)]
struct Mistake {
    class: String,
    taken_for: String,
    images: usize,
}

impl Report {
    pub fn new(
        network_name: &str,
        network: &dyn Network,
        labels: &[String],
        folders: &[Folder],
        tally: &Tally,
        seen: Seen,
    ) -> Self {
        let name = |at: usize| folders.get(at).map_or_else(String::new, |folder| folder.name.clone());
        let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
        let Score { images, first, among_five } = tally.all;
        let [height, width, _] = network.info().input;
        Self {
            network: format!("{network_name} {height}x{width}"),
            precision: network.info().conventions.precision.word(),
            isa: network.isa().to_string(),
            images,
            skipped: seen.skipped,
            first,
            among_first_five: among_five,
            top1_percent: tally.all.first_percent(),
            top5_percent: tally.all.five_percent(),
            classes: tally
                .classes()
                .map(|(at, score)| Class {
                    class: name(at),
                    images: score.images,
                    first: score.first,
                    among_first_five: score.among_five,
                })
                .collect(),
            mistakes: tally
                .mistakes()
                .into_iter()
                .map(|(at, guess, images)| Mistake { class: name(at), taken_for: label(guess), images })
                .collect(),
        }
    }

    /// Prints the report.
    pub fn show(&self, args: &Args) {
        if args.json {
            ui::json(self);
            return;
        }
        let Self { network, precision, isa, images, .. } = self;
        outln!(
            "{BOLD}{}{BOLD:#} of {}  {DIM}{network}, {precision}, on {isa}{DIM:#}",
            plural(*images, "image"),
            classes(self.classes.len())
        );
        outln!("  top-1 accuracy  {ACCENT}{:6.2} %{ACCENT:#}  {}", self.top1_percent, self.first);
        outln!("  top-5 accuracy  {ACCENT}{:6.2} %{ACCENT:#}  {}", self.top5_percent, self.among_first_five);
        let mut wrong: Vec<_> = self.classes.iter().filter(|class| class.first < class.images).collect();
        wrong.sort_by(|one, other| one.share().total_cmp(&other.share()));
        let of_all = wrong.len();
        wrong.truncate(args.show);
        if !wrong.is_empty() {
            let rows = wrong.iter().map(|class| {
                let right = format!("{:.1} %", class.share() * 100.0);
                vec![class.class.clone(), class.images.to_string(), right, self.taken_for(&class.class)]
            });
            outln!("\n{}", ui::table(&["class", "images", "top-1", "predicted instead"], "<>><", rows));
        }
        if of_all > wrong.len() && !wrong.is_empty() {
            outln!("{DIM}and {} more with errors (--show N){DIM:#}", classes(of_all - wrong.len()));
        }
    }

    /// The most frequent wrong predictions for a class.
    fn taken_for(&self, class: &str) -> String {
        const SHOWN: usize = 3;
        let of_class = self.mistakes.iter().filter(|mistake| mistake.class == class);
        let shown = of_class.take(SHOWN).map(|mistake| match mistake.images {
            1 => mistake.taken_for.clone(),
            images => format!("{} {images}x", mistake.taken_for),
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

impl Class {
    /// Top-1 accuracy.
    fn share(&self) -> f64 {
        self.first as f64 / self.images.max(1) as f64
    }
}

/// `one class`, `3 classes`.
fn classes(count: usize) -> String {
    if count == 1 { "one class".to_owned() } else { format!("{count} classes") }
}
