//! A RAM disk in the cpio format that Linux unpacks (`newc`: Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

use super::package::{File, Kind};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;
/// Top folders that are links into /usr on Debian; older packages still name them.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];
/// Documentation, which no init needs.
const LEFT_OUT: [&str; 5] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
];
/// Mount points and the console that /init finds (major 5, minor 1).
const FOLDERS: [&str; 7] = ["dev", "proc", "sys", "tmp", "run", "root", "etc"];

/// Puts a RAM disk together.
pub struct Builder {
    out: Vec<u8>,
    inode: u32,
    folders: BTreeSet<String>,
}

impl Builder {
    /// With the mount points, /dev/console, and the links into /usr.
    pub fn new() -> Self {
        let mut disk = Builder {
            out: Vec::new(),
            inode: 0,
            folders: BTreeSet::new(),
        };
        for name in FOLDERS {
            disk.folder(name);
        }
        for name in MERGED {
            disk.folder(&format!("usr/{name}"));
            disk.entry(name, LINK | 0o777, format!("usr/{name}").as_bytes(), (0, 0));
        }
        disk.entry("dev/console", DEVICE | 0o600, &[], (5, 1));
        disk
    }

    /// An entry of a package, unless it is documentation.
    pub fn package_file(&mut self, file: &File) {
        let path = merged(&file.path);
        if path.is_empty() || LEFT_OUT.iter().any(|left| path.starts_with(left)) {
            return;
        }
        match &file.kind {
            Kind::Folder => self.folder(&path),
            Kind::File => self.file(&path, file.mode, &file.bytes),
            Kind::Link(target) => {
                self.parents(&path);
                self.entry(&path, LINK | 0o777, target.as_bytes(), (0, 0));
            }
        }
    }

    /// A file; its folders are made as needed.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, bytes, (0, 0));
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.out
    }

    fn parents(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
    }

    fn folder(&mut self, path: &str) {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let parts: Vec<&str> = ends.map(|end| &path[..end]).collect();
        for part in parts {
            if !MERGED.contains(&part) && self.folders.insert(part.to_string()) {
                self.entry(part, FOLDER | 0o755, &[], (0, 0));
            }
        }
    }

    /// One record: 13 fields of 8 hexadecimal digits, the name, the content, each padded to 4 bytes.
    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8], device: (u32, u32)) {
        self.inode += 1;
        let links = if mode & FOLDER == FOLDER { 2 } else { 1 };
        let size = bytes.len() as u32;
        let name = path.len() as u32 + 1;
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name, 0,
        ];
        self.out.extend_from_slice(b"070701");
        for field in fields {
            self.out.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.out.extend_from_slice(path.as_bytes());
        self.out.push(0);
        self.pad();
        self.out.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
}

/// `bin/x` as `usr/bin/x`.
fn merged(path: &str) -> String {
    let top = path.split('/').next().unwrap_or_default();
    match MERGED.contains(&top) {
        true => format!("usr/{path}"),
        false => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and contents of an archive, read by the format's rules.
    fn read(archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut at = 0;
        let mut all = Vec::new();
        loop {
            assert_eq!(&archive[at..at + 6], b"070701");
            let field = |n: usize| {
                let digits = &archive[at + 6 + 8 * n..at + 14 + 8 * n];
                u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap() as usize
            };
            let (mode, size, name_len) = (field(1), field(6), field(11));
            let name = String::from_utf8(archive[at + 110..at + 110 + name_len - 1].to_vec()).unwrap();
            let data = (at + 110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return all;
            }
            all.push((name, mode as u32, archive[data..data + size].to_vec()));
            at = (data + size).next_multiple_of(4);
        }
    }

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut disk = Builder::new();
        let file = |path: &str, kind: Kind| File {
            path: path.into(),
            kind,
            mode: 0o755,
            bytes: b"12345".to_vec(),
        };
        disk.package_file(&file("bin/busybox", Kind::File));
        disk.package_file(&file("usr/share/doc/busybox/README", Kind::File));
        disk.package_file(&file("lib", Kind::Folder));
        disk.package_file(&file("usr/lib/x/y.so", Kind::Link("z.so".into())));
        disk.file("init", 0o755, b"#!");
        let all = read(&disk.finish());
        let of = |name: &str| all.iter().filter(|(n, _, _)| n == name).collect::<Vec<_>>();
        assert_eq!(
            of("usr/bin/busybox"),
            [&("usr/bin/busybox".into(), FILE | 0o755, b"12345".to_vec())]
        );
        assert_eq!(of("lib"), [&("lib".into(), LINK | 0o777, b"usr/lib".to_vec())]);
        assert_eq!(
            of("usr/lib/x/y.so"),
            [&("usr/lib/x/y.so".into(), LINK | 0o777, b"z.so".to_vec())]
        );
        assert_eq!(of("usr/lib/x").len(), 1, "folders come before what is in them");
        assert_eq!(of("init").len(), 1);
        assert!(all.iter().all(|(name, _, _)| !name.contains("doc")));
        let place = |name: &str| all.iter().position(|(n, _, _)| n == name);
        assert!(place("usr/lib/x") < place("usr/lib/x/y.so"));
    }
}
