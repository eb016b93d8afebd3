//! `titan resume`: a batch goes on where it was when its titan ended, as if nothing had happened: the command that has begun it is
//! read again, in its own folder.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::Parser;

use crate::args::{Cli, Command, CommonOptions, NoiseOptions, PlaceOptions, ProgressMode, ResumeArgs};
use crate::batch::start::{Resumed, Start};
use crate::config::cluster::Cluster;
use crate::config::place::Place;
use crate::exit::{self, Failure};
use crate::state::dir::{self, Opened};
use crate::state::ended::{BatchState, EndMark};
use crate::state::{Store, Stored};

/// Goes on with a batch.
pub(crate) fn run(args: &ResumeArgs) -> Result<u8, Failure> {
    let store = Store::existing(args.state.batch_dir.as_deref())?;
    let batch = match &args.batch {
        Some(word) => store.named(word)?,
        None => match store.list().into_iter().find(is_unfinished) {
            Some(batch) => batch,
            None => return nothing_to_do(&store),
        },
    };
    // Relative paths are those of whoever types them now.
    let place = given_place(&args.place)?;
    let opened = store.open(&batch)?;
    if let Some(end) = EndMark::read(&batch.path)
        && !may_go_on(&opened, &end, args.retry_failed)
    {
        return over(&batch, &end);
    }
    let command = command_of(&opened)?;
    let resumed = Resumed { opened, place, retries_failed: args.retry_failed };
    let start = Start::Resumed(Box::new(resumed));
    match command {
        Some(Command::Run(mut run)) => {
            adapt(&mut run.common, args);
            super::run::run(&run, start)
        }
        Some(Command::Map(mut map)) => {
            adapt(&mut map.common, args);
            super::map::run(&map, start)
        }
        Some(Command::Batch(mut batch)) => {
            adapt(&mut batch.common, args);
            super::batch::run(&batch, start)
        }
        _ => {
            Err(Failure::plain(exit::CANNOT_WRITE, format!("batch {} was begun by no command of this titan", batch.id)))
        }
    }
}

/// The command that has begun a batch, in its folder.
fn command_of(opened: &Opened) -> Result<Option<Command>, Failure> {
    enter(opened)?;
    words_of(opened)
}

/// What was typed to begin a batch.
fn words_of(opened: &Opened) -> Result<Option<Command>, Failure> {
    let words = opened.specification.words.clone();
    let words = words.into_iter().map(OsString::from_vec);
    let command = Cli::try_parse_from(std::iter::once(OsString::from("titan")).chain(words));
    Ok(command.map_err(|error| super::told_by_parser(&error))?.command)
}

/// The hosts of a batch, as they were when it was begun.
pub(super) fn cluster_of(opened: &Opened) -> Result<Cluster, Failure> {
    // It may be gone; what is found from there is recorded.
    let _ = enter(opened);
    let place = match words_of(opened)? {
        Some(Command::Run(run)) => run.common.place,
        Some(Command::Map(map)) => map.common.place,
        Some(Command::Batch(batch)) => batch.common.place,
        _ => return Err(Failure::plain(exit::CANNOT_WRITE, "it was begun by no command of this titan")),
    };
    super::place::resolve_recorded(&place, &opened.specification).map(|place| place.cluster)
}

fn is_unfinished(batch: &Stored) -> bool {
    EndMark::read(&batch.path).is_none() && dir::holder(&batch.path).is_none()
}

/// Whether a batch that has come to its end has something to be gone on with.
fn may_go_on(opened: &Opened, end: &EndMark, retries_failed: bool) -> bool {
    let counts = opened.past.counts();
    end.state != BatchState::Cancelled && retries_failed && counts.completed < counts.total
}

fn nothing_to_do(store: &Store) -> Result<u8, Failure> {
    let running = store.list().into_iter().find_map(|batch| Some((dir::holder(&batch.path)?, batch)));
    if let Some((holder, batch)) = running {
        let problem = format!("there is no batch to go on with; batch {} is being run by {holder}", batch.id);
        return Err(Failure::hinted(exit::USAGE, problem, format!("look at it: titan status -f {}", batch.id)));
    }
    let Some(newest) = store.list().into_iter().find(|batch| dir::holder(&batch.path).is_none()) else {
        crate::tell::to_stderr("titan: there is no batch to go on with");
        return Ok(exit::SUCCESS);
    };
    match EndMark::read(&newest.path) {
        Some(end) => over(&newest, &end),
        None => Ok(exit::SUCCESS),
    }
}

fn over(batch: &Stored, end: &EndMark) -> Result<u8, Failure> {
    crate::tell::to_stderr(&super::status::over_line(batch, end));
    Ok(end.exit_code)
}

/// The hosts that are given anew, if any are.
fn given_place(options: &PlaceOptions) -> Result<Option<Place>, Failure> {
    let is_given = options.cluster.is_some() || !options.hosts.is_empty() || options.local.is_some();
    is_given.then(|| super::place::resolve_place(options)).transpose()
}

fn enter(opened: &Opened) -> Result<(), Failure> {
    let folder = OsStr::from_bytes(&opened.specification.folder);
    std::env::set_current_dir(folder).map_err(|error| {
        let problem = format!("cannot enter {}, where the batch was begun: {error}", Path::new(folder).display());
        Failure::hinted(exit::USAGE, problem, format!("make it again, or: titan cancel {}", opened.directory.id()))
    })
}

/// What may be said anew.
fn adapt(common: &mut CommonOptions, args: &ResumeArgs) {
    common.place.jobs = args.place.jobs.or(common.place.jobs);
    common.schedule.wait_for_hosts = args.wait_for_hosts.or(common.schedule.wait_for_hosts);
    common.state.batch_dir.clone_from(&args.state.batch_dir);
    let NoiseOptions { progress, json, quiet, verbose } = &args.noise;
    if *progress != ProgressMode::Auto {
        common.noise.progress = *progress;
    }
    common.noise.json |= json;
    if *quiet || *verbose > 0 {
        (common.noise.quiet, common.noise.verbose) = (*quiet, *verbose);
    }
}
