//! Earlier batches of the same file: what they have made is kept if that is asked for, and offered otherwise.

use std::path::Path;

use super::Plan;
use crate::args::BatchArgs;
use crate::config::text::counted;
use crate::exit::Failure;
use crate::files::reuse::Reuse;
use crate::state::ended::BatchState;
use crate::state::specification::RecordedFile;
use crate::state::view::Brief;
use crate::state::{Store, Stored, dir};
use crate::tell::to_stderr;
use titan_proto::id::BatchId;

/// What needn't be made again; says what could be kept where nobody has said anything.
pub(super) fn reuse(args: &BatchArgs, plan: &Plan, file: &RecordedFile, is_new: bool) -> Result<Reuse, Failure> {
    if args.fresh || !(is_new || args.reuse) {
        return Ok(Reuse::default());
    }
    let store = Store::find(args.common.state.batch_dir.as_deref())?;
    let is_of_name = |batch: &&Stored| batch.heading.as_ref().is_some_and(|heading| heading.name == plan.name);
    let all = store.list();
    let mut earlier = all.iter().filter(is_of_name).filter(|batch| dir::holder(&batch.path).is_none());
    let is_of_file = |batch: &&Stored| batch.recorded_file().is_some_and(|before| before.path == file.path);
    if args.reuse {
        return Ok(Reuse::of(earlier.filter(is_of_file), &plan.root));
    }
    if let Some(newest) = earlier.find(is_of_file)
        && !args.common.noise.quiet
        && !args.common.noise.json
    {
        offer(newest, file, &args.file);
    }
    Ok(Reuse::default())
}

/// Says which other batches of the file write, or have written, the same outputs: one that runs now, and newer ones than that which
/// is gone on with.
pub(super) fn warn(
    args: &BatchArgs,
    plan: &Plan,
    file: &RecordedFile,
    resumed: Option<&BatchId>,
) -> Result<(), Failure> {
    if args.common.noise.quiet {
        return Ok(());
    }
    let all = Store::find(args.common.state.batch_dir.as_deref())?.list();
    let of_name = all.iter().filter(|batch| batch.heading.as_ref().is_some_and(|heading| heading.name == plan.name));
    // The newest first.
    let mut is_newer = resumed.is_some();
    for batch in of_name.filter(|batch| batch.recorded_file().is_some_and(|before| before.path == file.path)) {
        if Some(&batch.id) == resumed {
            is_newer = false;
        } else if let Some(holder) = dir::holder(&batch.path) {
            let name = args.file.display();
            to_stderr(&format!(
                "titan: {name} is being run as batch {} too, by {holder}: both write its outputs",
                batch.id
            ));
        } else if is_newer {
            let name = args.file.display();
            to_stderr(&format!(
                "titan: batch {} of {name} is newer: its outputs are written over by what is left here",
                batch.id
            ));
        }
    }
    Ok(())
}

/// A file that was edited since, or whose last batch didn't come to a good end, may be meant to go on.
fn offer(newest: &Stored, file: &RecordedFile, name: &Path) {
    let Some(brief) = Brief::of(newest).filter(|brief| brief.completed > 0) else { return };
    let is_same = newest.recorded_file().is_some_and(|before| before.text == file.text);
    if is_same && brief.state == BatchState::Completed {
        return;
    }
    let (done, id) = (counted(brief.completed, "task"), &newest.id);
    to_stderr(&format!(
        "titan: {} ran before, and {done} COMPLETED (batch {id}): --reuse keeps those that are still the same, --fresh runs all and says nothing",
        name.display()
    ));
}
