//! `titan run mandelbrot`: its pictures and counts are those that the plainest program would make, however they were cut
//! and shared out.

use titan_tests::cli::picture::{Counts, Look, decode_png, read_png};
use titan_tests::cli::{Desk, Outcome};

/// Views as the help names them: centre, width, iterations.
const VIEWS: [(&str, (f64, f64), f64, u32); 7] = [
    ("full", (-0.5, 0.0), 3.0, 1000),
    ("titan", (-0.746, 0.102), 0.004, 1000),
    ("seahorse", (-0.7435669, 0.1314023), 0.0022878, 3000),
    ("elephant", (0.286931868895, 0.014286693904), 0.00064, 2500),
    ("spiral", (-0.77468061063, -0.13741688560), 1.5e-5, 4000),
    ("eye", (-1.25066, 0.02012), 0.00017, 4000),
    ("minibrot", (-0.743643135, 0.131825963), 1.6e-5, 5000),
];

#[track_caller]
fn draw(desk: &Desk, options: &str) -> Outcome {
    desk.run(&format!("run mandelbrot -q -o out.png --counts out.npy {options}")).expect(0)
}

/// Runs titan with these options and compares what it writes with this look.
#[track_caller]
fn assert_drawn(desk: &Desk, options: &str, look: Look) {
    draw(desk, &format!("--palette titan {options}"));
    let expected = look.counts();
    let counts = Counts::read(&desk.path("out.npy"));
    assert_eq!(counts.size, expected.size);
    let wrong = counts.values.iter().zip(&expected.values).filter(|(a, b)| a != b).count();
    assert_eq!(wrong, 0, "wrong counts with {options}");
    assert!(read_png(&desk.path("out.png")) == expected.painted(look.iterations), "wrong colours with {options}");
}

#[test]
fn each_view_is_the_picture_that_a_plain_loop_makes() {
    let desk = Desk::new();
    for (name, center, width, iterations) in VIEWS {
        let look = Look { center, width, size: (40, 30), iterations };
        assert_drawn(&desk, &format!("--view {name} --size 40x30"), look);
        let counts = look.counts().values;
        assert!(counts.iter().any(|count| count != &counts[0]), "{name} shows something");
    }
    desk.wait_until_tidy();
}

#[test]
fn any_size_and_place_is_the_picture_that_a_plain_loop_makes() {
    let desk = Desk::new();
    for (center, width, size, iterations) in [
        ((-0.5, 0.0), 3.0, (1, 1), 50),
        ((-0.5, 0.25), 3.0, (7, 3), 1),
        ((0.3, -0.5), 0.5, (3, 70), 2),
        ((-1.75, 0.001), 0.1, (129, 65), 300),
        ((-0.1, 0.9), 1e-9, (33, 31), 400),
        ((1e3, -1e3), 10.0, (16, 16), 100),
    ] {
        let options = format!(
            "--center {},{} --width {width} --size {}x{} --iterations {iterations}",
            center.0, center.1, size.0, size.1
        );
        assert_drawn(&desk, &options, Look { center, width, size, iterations });
    }
}

#[test]
fn center_width_and_iterations_override_a_view_and_negative_numbers_need_no_equals_sign() {
    let desk = Desk::new();
    let size = (24, 18);
    let base = Look { center: (-0.746, 0.102), width: 0.004, size, iterations: 1000 };
    let view = "--size 24x18 --view titan";
    assert_drawn(&desk, &format!("{view} --center -0.7,-0.3"), Look { center: (-0.7, -0.3), ..base });
    assert_drawn(&desk, &format!("{view} --center=-0.7,-0.3"), Look { center: (-0.7, -0.3), ..base });
    assert_drawn(&desk, &format!("--center .25,-0 {view}"), Look { center: (0.25, 0.0), ..base });
    assert_drawn(&desk, &format!("{view} --width 1e-3"), Look { width: 1e-3, ..base });
    assert_drawn(&desk, &format!("{view} --iterations 123"), Look { iterations: 123, ..base });
}

#[test]
fn the_bytes_are_the_same_however_the_work_is_shared_out() {
    let desk = Desk::new();
    let look = "--view seahorse --size 150x110 --iterations 400";
    draw(&desk, look);
    let (picture, counts) = (desk.read("out.png"), desk.read("out.npy"));
    for sharing in [
        "--tiles 1x1",
        "--tiles 150x1",
        "--tiles 7x13 --local 3",
        "--tiles 3x110 -j 1",
        "--tiles auto --local 2 --policy round-robin",
        "--tiles 5x5 --local 4 --policy least-loaded -j 3",
        "--hosts : -j +2",
        "--hosts 3/: --local 2 --tiles 20x20",
    ] {
        draw(&desk, &format!("{look} {sharing}"));
        assert!(desk.read("out.png") == picture, "the picture with {sharing}");
        assert!(desk.read("out.npy") == counts, "the counts with {sharing}");
    }
    // Whether counts are wanted makes no difference to the picture.
    desk.run(&format!("run mandelbrot -q -o alone.png {look}")).expect(0);
    assert!(desk.read("alone.png") == picture);
}

#[test]
fn every_palette_has_colours_of_its_own_and_a_black_inside() {
    let desk = Desk::new();
    let mut seen = Vec::new();
    for palette in ["ultra", "titan", "gray", "fire", "ice", "twilight"] {
        draw(&desk, &format!("--size 60x40 --palette {palette}"));
        let picture = read_png(&desk.path("out.png"));
        let counts = Counts::read(&desk.path("out.npy"));
        for (x, y, pixel) in picture.enumerate_pixels() {
            assert!(counts.at(x, y) < 1000 || pixel.0 == [0; 3], "{palette}: the inside isn't black");
        }
        assert!(picture.pixels().any(|pixel| pixel.0 != [0; 3]), "{palette} is all black");
        assert!(!seen.contains(&picture), "{palette} is another one's double");
        seen.push(picture);
    }
    draw(&desk, "--size 60x40");
    assert!(read_png(&desk.path("out.png")) == seen[0], "the first is the default");
}

#[test]
fn tile_files_are_the_parts_of_the_picture() {
    let desk = Desk::new();
    draw(&desk, "--size 101x67 --tiles 4x3 --tiles-dir tiles --local 2");
    let picture = read_png(&desk.path("out.png"));
    let mut pixels = 0;
    for row in 0..3u32 {
        for column in 0..4u32 {
            let tile = read_png(&desk.path(&format!("tiles/tile-{row}-{column}.png")));
            let (left, top) = (column * 101 / 4, row * 67 / 3);
            for (x, y, pixel) in tile.enumerate_pixels() {
                assert_eq!(pixel, picture.get_pixel(left + x, top + y), "tile {row} {column} at {x},{y}");
            }
            pixels += tile.width() * tile.height();
        }
    }
    assert_eq!(pixels, 101 * 67);
    assert_eq!(std::fs::read_dir(desk.path("tiles")).unwrap().count(), 12, "and nothing else is there");
}

#[test]
fn a_dash_writes_the_picture_to_stdout() {
    let desk = Desk::new();
    draw(&desk, "--size 80x60");
    let piped = desk.run("run mandelbrot -q -o - --size 80x60 --local 2 --tiles 3x5").expect(0);
    assert!(piped.stdout == desk.read("out.png"));
    assert_eq!(decode_png(&piped.stdout).dimensions(), (80, 60));
    assert_eq!(desk.work_files(), ["out.npy", "out.png"]);
    let counts = desk.run("run mandelbrot -q -o out2.png --counts - --size 80x60").expect(0);
    assert!(counts.stdout == desk.read("out.npy"));
}

#[test]
fn without_a_name_the_picture_is_mandelbrot_png() {
    let desk = Desk::new();
    desk.run("run mandelbrot --size 8x8").expect(0);
    assert_eq!(desk.work_files(), ["mandelbrot.png"]);
}

#[test]
fn an_existing_picture_is_replaced_and_only_when_the_new_one_is_whole() {
    let desk = Desk::new();
    desk.write("out.png", "old");
    let mut running = desk.start_faulty("delay:1:300", "run mandelbrot -v -o out.png --size 9x9 --tiles 1x2");
    assert_eq!(desk.read("out.png"), b"old");
    running.wait_for("task 1 starts");
    running.wait().expect(0);
    assert_eq!(read_png(&desk.path("out.png")).dimensions(), (9, 9));
    desk.wait_until_tidy();
}
