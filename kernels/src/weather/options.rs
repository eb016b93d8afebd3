//! What a person can type, and what it means.

use super::params::Params;
use crate::typed::{given, number, pair};
use crate::{OptionError, OptionSpec, OutputKind, OutputSpec, Request};

/// Name of the option for the folder.
pub(super) const FOLDER: &str = "output";

/// The options that set parameters.
pub(super) static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "members",
        value: "N",
        default: Some("20"),
        help: "How many members the ensemble has, 1 to 10000; each is one task.",
        choices: &[],
    },
    OptionSpec {
        name: "grid",
        value: "WxH",
        default: Some("256x256"),
        help: "Cells across and down, 8 to 4096. They are squares: a longer side is a longer sea.",
        choices: &[],
    },
    OptionSpec {
        name: "steps",
        value: "N",
        default: Some("1000"),
        help: "Steps of time, at most 1000000. On a finer grid each is shorter.",
        choices: &[],
    },
    OptionSpec {
        name: "seed",
        value: "N",
        default: Some("1"),
        help: "What the start and its perturbations are drawn from: another seed is another weather.",
        choices: &[],
    },
    OptionSpec {
        name: "perturb",
        value: "P",
        default: Some("0.01"),
        help: "The most that a member's start differs from the common one, in mean depths, 0 to 1.",
        choices: &[],
    },
];

/// The options that name outputs.
pub(super) static OUTPUTS: &[OutputSpec] = &[OutputSpec {
    name: FOLDER,
    short: Some('o'),
    value: "DIR",
    default: Some("weather"),
    kind: OutputKind::Folder,
    help: "The folder for mean.png, spread.png and, as NumPy arrays of shape (H, W) and type float64, mean.npy and \
           spread.npy: mean and standard deviation of the surface's height over all members that came to their end.",
}];

/// The ensemble that a person asked for.
pub(super) fn params(request: &Request) -> Result<Params, OptionError> {
    let whole = "give a whole number";
    let params = Params {
        members: given(request, "members", number, &format!("{whole}, such as 20"))?.unwrap_or(20),
        grid: given(request, "grid", pair, "give columns x rows, such as 256x256")?.unwrap_or((256, 256)),
        steps: given(request, "steps", number, &format!("{whole}, such as 1000"))?.unwrap_or(1000),
        seed: given(request, "seed", number, &format!("{whole} from 0 to {}", u64::MAX))?.unwrap_or(1),
        perturb: given(request, "perturb", number, "give a number from 0 to 1, such as 0.01")?.unwrap_or(0.01),
    };
    params.check()?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: &[(&str, &str)]) -> Request {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Request { options, outputs: [FOLDER.to_owned()].into(), slots: 2 }
    }

    fn parsed(options: &[(&str, &str)]) -> Params {
        params(&request(options)).unwrap()
    }

    fn refused(option: &str, value: &str) -> (String, String) {
        let error = params(&request(&[(option, value)])).unwrap_err();
        (error.to_string(), error.hint.unwrap())
    }

    #[test]
    fn nothing_said_is_a_small_ensemble() {
        assert_eq!(parsed(&[]), Params { members: 20, grid: (256, 256), steps: 1000, seed: 1, perturb: 0.01 });
    }

    #[test]
    fn every_option_is_read() {
        let seed = u64::MAX.to_string();
        let options = [("members", "3"), ("grid", " 64X32 "), ("steps", "0"), ("seed", &seed), ("perturb", "1e-3")];
        let expected = Params { members: 3, grid: (64, 32), steps: 0, seed: u64::MAX, perturb: 1e-3 };
        assert_eq!(parsed(&options), expected);
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_an_example() {
        let (error, hint) = refused("grid", "64");
        assert_eq!(error, "--grid: can't read '64'");
        assert_eq!(hint, "give columns x rows, such as 256x256");
        assert_eq!(refused("seed", "-1").1, "give a whole number from 0 to 18446744073709551615");
        assert_eq!(refused("members", "1.5").0, "--members: can't read '1.5'");
        assert_eq!(refused("perturb", "much").0, "--perturb: can't read 'much'");
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        assert!(refused("members", "0").0.starts_with("--members: 0"));
        assert!(refused("grid", "8x4").0.starts_with("--grid: a side"));
        assert!(refused("steps", "1000001").0.starts_with("--steps"));
        assert!(refused("perturb", "nan").0.starts_with("--perturb: NaN"));
    }

    #[test]
    fn defaults_in_help_are_what_happens() {
        for option in OPTIONS {
            let default = option.default.unwrap();
            assert_eq!(parsed(&[(option.name, default)]), parsed(&[]));
        }
    }
}
