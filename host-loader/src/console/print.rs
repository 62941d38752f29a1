//! Consoles on one screen: whole lines, each with its VM's name in front where there are several.

use std::io::{self, Write};

/// A VM that prints this much without a newline gets its line broken.
const LINE_MAX: usize = 4096;

/// Writes the consoles of VMs to one output.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    /// Name in front of a line; none where there is only one VM.
    prefixes: Vec<String>,
    lines: Vec<Vec<u8>>,
    /// VM whose unfinished line is on the screen.
    open: Option<usize>,
    newline: &'static [u8],
}

impl<W: Write> Printer<W> {
    /// `raw`: the terminal does not return the carriage by itself.
    pub fn new(out: W, names: &[String], raw: bool) -> Self {
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let prefix = |name: &String| {
            if names.len() > 1 {
                format!("{name:width$} | ")
            } else {
                String::new()
            }
        };
        Printer {
            out,
            prefixes: names.iter().map(prefix).collect(),
            lines: vec![Vec::new(); names.len()],
            open: None,
            newline: if raw { b"\r\n" } else { b"\n" },
        }
    }

    /// A byte of a VM's console. With one VM bytes pass as they come; with several, by the line.
    pub fn byte(&mut self, vm: usize, byte: u8) -> io::Result<()> {
        let Some(line) = self.lines.get_mut(vm) else {
            return Ok(());
        };
        match byte {
            b'\r' => return Ok(()),
            b'\n' => {}
            _ => {
                line.push(byte);
                if line.len() < LINE_MAX {
                    return Ok(());
                }
            }
        }
        self.show(vm)?;
        self.close()
    }

    /// Shows what VMs have printed of a line so far, such as a prompt: call when nothing comes for a while.
    pub fn idle(&mut self) -> io::Result<()> {
        for vm in 0..self.lines.len() {
            if !self.lines[vm].is_empty() {
                self.show(vm)?;
            }
        }
        self.out.flush()
    }

    /// A line of our own.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.close()?;
        for line in text.lines() {
            self.out.write_all(line.as_bytes())?;
            self.out.write_all(self.newline)?;
        }
        self.out.flush()
    }

    /// Ends an unfinished line.
    pub fn close(&mut self) -> io::Result<()> {
        if self.open.take().is_some() {
            self.out.write_all(self.newline)?;
        }
        self.out.flush()
    }

    fn show(&mut self, vm: usize) -> io::Result<()> {
        if self.open != Some(vm) {
            self.close()?;
            self.out.write_all(self.prefixes[vm].as_bytes())?;
        }
        self.out.write_all(&self.lines[vm])?;
        self.lines[vm].clear();
        self.open = Some(vm);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Printer;

    fn printed(names: &[&str], bytes: &[(usize, &str)]) -> String {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, &names, false);
        for (vm, text) in bytes {
            match *text {
                "idle" => printer.idle().unwrap(),
                text => text.bytes().for_each(|byte| printer.byte(*vm, byte).unwrap()),
            }
        }
        printer.idle().unwrap();
        printer.close().unwrap();
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_vm_has_the_screen_for_itself() {
        assert_eq!(
            printed(&["a"], &[(0, "login: "), (0, "idle"), (0, "root\r\n# ")]),
            "login: root\n# \n"
        );
    }

    #[test]
    fn lines_of_several_are_not_mixed() {
        let both = [
            (0, "one "),
            (1, "two\n"),
            (0, "more\n"),
            (0, "> "),
            (0, "idle"),
            (1, "x\n"),
            (0, "y\n"),
        ];
        let expected = "long | two\na    | one more\na    | > \nlong | x\na    | y\n";
        assert_eq!(printed(&["a", "long"], &both), expected);
    }

    #[test]
    fn bytes_of_no_vm_are_dropped() {
        assert_eq!(printed(&["a"], &[(3, "zz\n")]), "");
    }
}
