//! `titan run KERNEL`: the kernels' own lists of options as arguments.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, FromArgMatches, Subcommand};

use kernels::{KERNELS, Kernel, OptionSpec, OutputSpec};

use crate::config::suggest::nearest;
use crate::config::text::shorten;
use crate::exit::{self, Failure};

/// What stands after `titan run`.
#[derive(Debug, Clone)]
pub(crate) enum KernelChoice {
    /// A kernel that there is.
    Known(KernelCommand),
    /// A word that is none's name.
    Unknown(String),
}

/// A kernel and what was typed for it.
#[derive(Clone)]
pub(crate) struct KernelCommand {
    pub(crate) kernel: &'static dyn Kernel,
    /// Option to value, only those that were typed.
    pub(crate) options: BTreeMap<String, String>,
    /// Output to where it goes, defaults included.
    pub(crate) outputs: BTreeMap<String, String>,
}

impl std::fmt::Debug for KernelCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {:?}", self.kernel.name(), self.options, self.outputs)
    }
}

impl Subcommand for KernelChoice {
    fn augment_subcommands(command: Command) -> Command {
        KERNELS.iter().fold(command, |command, kernel| command.subcommand(kernel_command(*kernel)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        kernels::find(name).is_some()
    }
}

impl FromArgMatches for KernelChoice {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Some((name, matches)) = matches.subcommand() else {
            return Err(clap::Error::raw(ErrorKind::MissingSubcommand, "name a kernel: titan run --help lists them\n"));
        };
        let Some(kernel) = kernels::find(name) else {
            return Ok(Self::Unknown(name.to_owned()));
        };
        let typed = |name: &str| matches.get_one::<String>(name).cloned();
        let options = kernel.options().iter().filter_map(|spec| Some((spec.name.to_owned(), typed(spec.name)?)));
        let outputs = kernel.outputs().iter().filter_map(|spec| {
            let value = typed(spec.name).or_else(|| spec.default.map(str::to_owned))?;
            Some((spec.name.to_owned(), value))
        });
        Ok(Self::Known(KernelCommand { kernel, options: options.collect(), outputs: outputs.collect() }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn kernel_command(kernel: &'static dyn Kernel) -> Command {
    let options = kernel.options().iter().map(option);
    let outputs = kernel.outputs().iter().map(output);
    Command::new(kernel.name())
        .about(kernel.about())
        .args(options)
        .args(outputs)
        .after_help(format!("Examples:\n{}", indented(kernel.examples())))
}

fn indented(lines: &str) -> String {
    lines.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn option(spec: &'static OptionSpec) -> Arg {
    let help = match spec.default {
        Some(default) => format!("{} [default: {default}]", spec.help),
        None => spec.help.to_owned(),
    };
    let arg = Arg::new(spec.name).long(spec.name).value_name(spec.value).allow_hyphen_values(true).help(help);
    if spec.choices.is_empty() { arg } else { arg.value_parser(PossibleValuesParser::new(spec.choices)) }
}

fn output(spec: &'static OutputSpec) -> Arg {
    let help = match spec.default {
        Some(default) => format!("{} [default: {default}]", spec.help),
        None => spec.help.to_owned(),
    };
    let arg = Arg::new(spec.name).long(spec.name).value_name(spec.value).help(help).help_heading("Output");
    match spec.short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

impl KernelChoice {
    /// The kernel, or what `titan run` is for.
    pub(crate) fn known(&self) -> Result<&KernelCommand, Failure> {
        let name = match self {
            Self::Known(command) => return Ok(command),
            Self::Unknown(name) => name,
        };
        let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name()).collect();
        if crate::launch::child::is_program(name) {
            let kernels = names.join(", ");
            let problem =
                format!("titan run is for kernels ({kernels}); for a command: titan map -- {}", shorten(name));
            return Err(Failure::plain(exit::USAGE, problem));
        }
        let problem = format!("titan run is for kernels ({}), and '{}' is none", names.join(", "), shorten(name));
        let near = nearest(name, names).map(|near| format!("did you mean '{near}'? ")).unwrap_or_default();
        Err(Failure::hinted(exit::USAGE, problem, format!("{near}titan run --help lists the kernels")))
    }
}
