//! Every view and every palette as small pictures: `cargo run --release -p kernels --example gallery -- DIR [WxH]`.

use kernels::mandelbrot::views;
use kernels::{Cancel, Kernel, Outputs, Request, Results};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes each output to the same file.
struct OneFile(PathBuf);

impl Outputs for OneFile {
    fn create(&mut self, _output: &str, _file: Option<&str>) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(File::create(&self.0)?))
    }
}

/// The only result of a picture of one tile.
struct OneTile(Vec<u8>);

impl Results for OneTile {
    fn read_at(&self, _task: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let size = arguments.next().unwrap_or_else(|| "480x360".to_owned());
    std::fs::create_dir_all(&folder)?;
    for view in views::NAMES {
        for palette in palettes() {
            render(&folder, view, palette, &size)?;
        }
    }
    Ok(())
}

fn palettes() -> &'static [&'static str] {
    let options = kernels::mandelbrot::Mandelbrot.options();
    options.iter().find(|option| option.name == "palette").map_or(&[], |option| option.choices)
}

fn render(folder: &Path, view: &str, palette: &str, size: &str) -> io::Result<()> {
    let options = [("view", view), ("palette", palette), ("size", size), ("tiles", "1x1")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let request = Request { options, outputs: ["output".to_owned()].into(), slots: 1 };
    let plan = kernels::mandelbrot::Mandelbrot.plan(&request).map_err(io::Error::other)?;
    let compute = kernels::mandelbrot::Mandelbrot.load(&plan.params()).map_err(io::Error::other)?;
    let result = OneTile(compute.compute(0, &Cancel::default()).map_err(io::Error::other)?);
    let mut sink = plan.sink(Box::new(OneFile(folder.join(format!("{view}-{palette}.png")))))?;
    sink.completed(0, &result)?;
    sink.finish()?;
    Ok(())
}
