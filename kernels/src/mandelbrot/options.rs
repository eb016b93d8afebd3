//! What a person can type, and what it means.

use super::params::Params;
use super::tiles::Tiling;
use super::views::{self, View};
use super::{palettes, tile};
use crate::typed::{given, named, number, pair};
use crate::{OptionError, OptionSpec, OutputKind, OutputSpec, Request};

/// Name of the option for the picture.
pub(super) const PICTURE: &str = "output";

/// Name of the option for one picture for each tile.
pub(super) const TILES_DIR: &str = "tiles-dir";

/// Name of the option for counts.
pub(super) const COUNTS: &str = "counts";

/// The options that set parameters.
pub(super) static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "view",
        value: "NAME",
        default: Some("full"),
        help: "A place worth looking at. --center, --width and --iterations override what it says.",
        choices: views::NAMES,
    },
    OptionSpec {
        name: "center",
        value: "RE,IM",
        default: None,
        help: "The point in the middle of the picture, such as -0.746,0.102.",
        choices: &[],
    },
    OptionSpec {
        name: "width",
        value: "W",
        default: None,
        help: "How much of the real axis the picture spans.",
        choices: &[],
    },
    OptionSpec {
        name: "size",
        value: "WxH",
        default: Some("4096x4096"),
        help: "Pixels across and down.",
        choices: &[],
    },
    OptionSpec {
        name: "iterations",
        value: "N",
        default: None,
        help: "Points that take more steps than this to escape count as inside. Each view has a good limit of its own, \
               1000 for most.",
        choices: &[],
    },
    OptionSpec {
        name: "tiles",
        value: "COLSxROWS",
        default: Some("auto"),
        help: "How many tiles the picture is cut into; each is one task. `auto` suits the picture and the hosts.",
        choices: &[],
    },
    OptionSpec {
        name: "palette",
        value: "NAME",
        default: Some("ultra"),
        help: "The colours. `titan` is (5n, 13n, 23n) mod 256 for a count of n, the others are smooth.",
        choices: palettes::NAMES,
    },
];

/// The options that name outputs.
pub(super) static OUTPUTS: &[OutputSpec] = &[
    OutputSpec {
        name: PICTURE,
        short: Some('o'),
        value: "FILE.png",
        default: Some("mandelbrot.png"),
        kind: OutputKind::File,
        help: "The picture.",
    },
    OutputSpec {
        name: TILES_DIR,
        short: None,
        value: "DIR",
        default: None,
        kind: OutputKind::Folder,
        help: "Also write each tile as a picture of its own, tile-ROW-COL.png.",
    },
    OutputSpec {
        name: COUNTS,
        short: None,
        value: "FILE.npy",
        default: None,
        kind: OutputKind::File,
        help: "Also write the escape counts as a NumPy array of shape (H, W) and type uint32; 2^32-1 where a tile is \
               missing.",
    },
];

/// The picture that a person asked for.
pub(super) fn params(request: &Request) -> Result<Params, OptionError> {
    let view = view(request)?;
    let has_counts = request.outputs.contains(COUNTS);
    let size = given(request, "size", pair, "give columns x rows, such as 4096x4096")?.unwrap_or((4096, 4096));
    let mut params = Params {
        center: given(request, "center", point, "give RE,IM, such as -0.746,0.102")?.unwrap_or(view.center),
        width: given(request, "width", number, "3 shows the whole set")?.unwrap_or(view.width),
        tiling: Tiling { size, tiles: (1, 1) },
        iterations: given(request, "iterations", number, "give a whole number, such as 1000")?
            .unwrap_or(view.iterations),
        palette: named(request, "palette", palettes::NAMES)?,
        has_counts,
    };
    params.tiling.tiles = tiles(request, &params)?;
    params.check()?;
    Ok(params)
}

fn view(request: &Request) -> Result<&'static View, OptionError> {
    Ok(&views::VIEWS[named(request, "view", views::NAMES)?])
}

/// The tiles across and down. `auto` is asked only about sizes that are within bounds.
fn tiles(request: &Request, params: &Params) -> Result<(u32, u32), OptionError> {
    let hint = "give columns x rows, such as 8x8, or auto";
    let value = |text: &str| if text == "auto" { Some(None) } else { pair(text).map(Some) };
    if let Some(Some(tiles)) = given(request, "tiles", value, hint)? {
        return Ok(tiles);
    }
    params.check_size()?;
    let bytes_per_pixel = tile::RGB_BYTES + if params.has_counts { tile::COUNT_BYTES } else { 0 };
    Ok(Tiling::auto(params.tiling.size, request.slots, bytes_per_pixel).tiles)
}

/// `RE,IM`.
fn point(text: &str) -> Option<(f64, f64)> {
    let (re, im) = text.split_once(',')?;
    Some((number(re.trim())?, number(im.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: &[(&str, &str)]) -> Request {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Request { options, outputs: [PICTURE.to_owned()].into(), slots: 2 }
    }

    fn parsed(options: &[(&str, &str)]) -> Params {
        params(&request(options)).unwrap()
    }

    fn refused(option: &str, value: &str) -> (String, String) {
        let error = params(&request(&[(option, value)])).unwrap_err();
        (error.to_string(), error.hint.unwrap())
    }

    #[test]
    fn nothing_said_is_the_whole_set() {
        let params = parsed(&[]);
        assert_eq!((params.center, params.width, params.iterations), ((-0.5, 0.0), 3.0, 1000));
        assert_eq!((params.tiling.size, params.tiling.tiles), ((4096, 4096), (4, 16)));
        assert_eq!((params.palette, params.has_counts), (0, false));
    }

    #[test]
    fn options_override_what_a_view_says() {
        let params = parsed(&[("view", "titan"), ("width", "1e-3"), ("iterations", "77")]);
        assert_eq!((params.center, params.width, params.iterations), ((-0.746, 0.102), 1e-3, 77));
        assert_eq!(parsed(&[("center", " -1, .25 ")]).center, (-1.0, 0.25));
    }

    #[test]
    fn sizes_and_tiles_are_pairs() {
        let params = parsed(&[("size", "640x480"), ("tiles", "3x2"), ("palette", "titan")]);
        assert_eq!((params.tiling.size, params.tiling.tiles, params.palette), ((640, 480), (3, 2), 1));
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_an_example() {
        let (error, hint) = refused("center", "1");
        assert_eq!(error, "--center: can't read '1'");
        assert_eq!(hint, "give RE,IM, such as -0.746,0.102");
        assert_eq!(refused("iterations", "-5").0, "--iterations: can't read '-5'");
        assert_eq!(refused("size", "12").1, "give columns x rows, such as 4096x4096");
        assert_eq!(refused("tiles", "many").1, "give columns x rows, such as 8x8, or auto");
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        let (error, hint) = refused("view", "seahorze");
        assert_eq!(
            (error.as_str(), hint.as_str()),
            ("--view: there is no view 'seahorze'", "did you mean 'seahorse'?")
        );
        let (_, hint) = refused("palette", "vermillion");
        assert!(hint.starts_with("choose one of ultra, titan, gray"), "{hint}");
    }

    #[test]
    fn values_outside_their_bounds_are_refused() {
        assert!(refused("size", "0x10").0.starts_with("--size: a side"));
        assert!(refused("width", "nan").0.starts_with("--width: NaN"));
        assert!(refused("iterations", "4294967295").0.starts_with("--iterations"));
        assert!(refused("tiles", "5000x1").0.starts_with("--tiles"));
    }

    #[test]
    fn defaults_in_help_are_what_happens() {
        for option in OPTIONS {
            if let Some(default) = option.default {
                assert_eq!(parsed(&[(option.name, default)]), parsed(&[]));
            }
        }
    }
}
