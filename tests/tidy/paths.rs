//! What a source file refers to.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::parse;

/// The room that a file of src/ belongs to; the crate's front page belongs to none.
pub(crate) fn room_of(file: &Path) -> Option<String> {
    module_of(file)?.into_iter().next()
}

fn module_of(file: &Path) -> Option<Vec<String>> {
    let inside = file.strip_prefix("src").ok()?.with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    Some(module)
}

/// Every path of the code, from the crate's root where it names something of ours, with its line. What is
/// compiled for tests only is left out.
pub(crate) fn paths(file: &Path, text: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Paths { module: module_of(file).unwrap(), found: Vec::new() };
    paths.visit_file(&parse(file, text));
    paths.found
}

struct Paths {
    module: Vec<String>,
    found: Vec<(usize, Vec<String>)>,
}

impl Paths {
    fn add(&mut self, line: usize, path: &[String]) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let absolute = match path.first().map(String::as_str) {
            Some("super") if supers <= self.module.len() => {
                let above = &self.module[..self.module.len() - supers];
                ["crate".to_owned()].iter().chain(above).chain(&path[supers..]).cloned().collect()
            }
            Some("streamgauge") => ["crate".to_owned()].iter().chain(&path[1..]).cloned().collect(),
            _ => path.to_vec(),
        };
        self.found.push((line, absolute));
    }

    fn add_use(&mut self, tree: &syn::UseTree, prefix: &[String]) {
        let with = |ident: &syn::Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_use(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.add(name.span().start().line, &with(&name.ident)),
            syn::UseTree::Rename(name) => self.add(name.span().start().line, &with(&name.ident)),
            syn::UseTree::Glob(glob) => self.add(glob.span().start().line, prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, prefix)),
        }
    }

    /// A macro's arguments are only tokens: `a :: b :: c` is a path there too.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add(line, &std::mem::take(&mut path));
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.add(line, &std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add(line, &path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let for_tests = |attr: &syn::Attribute| {
            attr.path().is_ident("cfg") && attr.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        };
        if !item.attrs.iter().any(for_tests) {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, &[]);
    }
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(path.span().start().line, &parts);
        visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.add_tokens(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }
}
