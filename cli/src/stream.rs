//! Decodes images ahead and processes them in order, on all processors or one at a time.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use indicatif::ProgressBar;
use mbvc::picture::Framing;

use crate::crops;
use crate::error::{CliError, Result};

/// Images to read.
pub struct Pictures<'p> {
    pub paths: &'p [PathBuf],
    pub framing: Framing,
    /// Shape of the network's input: `[height, width, channels]`.
    pub input: [usize; 3],
    /// Number of crops per image, in addition to the whole image.
    pub crops: usize,
}

/// Numbers of readable and unreadable images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Images that were read.
    pub images: usize,
    /// Unreadable images, each of which was reported.
    pub skipped: usize,
}

/// Runs `work` on the framed pixels of every image and passes the results to `take` in the order of the images, so that
/// the outcome is independent of the number of processors. The next images are decoded in the meantime, one for each
/// processor at most.
///
/// # Errors
/// If `work` fails. The first error is returned, with the name of the image.
pub fn each<T: Send>(
    pictures: &Pictures<'_>,
    bar: &ProgressBar,
    work: impl Fn(&[u8]) -> Result<T> + Sync,
    mut take: impl FnMut(T),
) -> Result<Seen> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let (send, decoded) = sync_channel(processors);
        scope.spawn(move || {
            for path in pictures.paths {
                let views = crops::load_views(path, pictures.framing, pictures.input, pictures.crops);
                if send.send((path, views)).is_err() {
                    return;
                }
            }
        });
        let mut waiting: Vec<(&Path, Vec<u8>)> = Vec::new();
        for (path, views) in decoded {
            match views {
                Err(cause) => {
                    seen.skipped += 1;
                    bar.suspend(|| cause.print());
                    bar.inc(pictures.crops as u64 + 1);
                }
                Ok(views) => {
                    seen.images += 1;
                    waiting.extend(views.into_iter().map(|view| (path.as_path(), view)));
                }
            }
            let whole = waiting.len() / processors * processors;
            let ready: Vec<_> = waiting.drain(..whole).collect();
            for together in ready.chunks(processors) {
                side_by_side(together, bar, &work, &mut take)?;
            }
        }
        side_by_side(&waiting, bar, &work, &mut take)
    })?;
    Ok(seen)
}

/// Passes the framed pixels of each image, or the error of reading it, to `take`, one after the other. The next images are
/// decoded in the meantime.
///
/// # Errors
/// If `take` fails. The first error is returned.
pub fn in_turn<'p>(
    paths: impl Iterator<Item = &'p Path> + Send,
    framing: Framing,
    input: [usize; 3],
    mut take: impl FnMut(&'p Path, Result<Vec<u8>>) -> Result,
) -> Result {
    std::thread::scope(|scope| {
        let (send, decoded) = sync_channel(2);
        scope.spawn(move || {
            for path in paths {
                let pixels = mbvc_pictures::load(path, framing, input).map_err(CliError::from);
                if send.send((path, pixels)).is_err() {
                    return;
                }
            }
        });
        decoded.into_iter().try_for_each(|(path, pixels)| take(path, pixels))
    })
}

/// Runs one thread for each image.
fn side_by_side<T: Send>(
    pictures: &[(&Path, Vec<u8>)],
    bar: &ProgressBar,
    work: &(impl Fn(&[u8]) -> Result<T> + Sync),
    take: &mut impl FnMut(T),
) -> Result {
    std::thread::scope(|scope| {
        let started: Vec<_> = pictures.iter().map(|(path, pixels)| (path, scope.spawn(move || work(pixels)))).collect();
        for (path, thread) in started {
            let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            take(result.map_err(|error| named(error, path))?);
            bar.inc(1);
        }
        Ok(())
    })
}

fn named(error: CliError, path: &Path) -> CliError {
    match error {
        CliError::Message { message, help, details } => {
            CliError::Message { message: format!("{}: {message}", path.display()), help, details }
        }
        other => other,
    }
}
