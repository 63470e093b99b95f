//! Parses a call of the macro and expands it: from the path of a spec to the items of the network.

use std::path::Path;

use mbvc_compiler::diagnostic::Diagnostic;
use mbvc_compiler::spec::{Overrides, Words};
use mbvc_compiler::{Diagnostics, Naming, compile_file};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, LitStr, Token, Visibility};

use crate::weights::embed;

const NO_PATH: [&str; 2] = ["expected a spec path as a string literal", "write `mobilenet_v2!(\"specs/v2.yaml\")`"];
const NO_WEIGHTS: [&str; 2] =
    ["expected the path of a weights file as a string literal", "write `weights = \"model.safetensors\"`"];
const WEIGHTS_TWICE: [&str; 2] = ["`weights` is given twice", "remove one of the two"];
const ATTRIBUTE: [&str; 2] = [
    "attributes and doc comments precede the spec path",
    "move it to the beginning of the call: `mobilenet_v2!(/** ... */ \"specs/v2.yaml\")`",
];

/// `[attributes] [visibility] "path", key = value, ...`
pub struct Call {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    path: LitStr,
    overrides: Overrides,
    /// The overrides as written.
    arguments: Vec<TokenStream>,
    /// Path of the weights to embed.
    weights: Option<LitStr>,
    /// Path of the crate `mbvc`.
    root: TokenStream,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let path = input.parse().map_err(|error| mistake(error.span(), NO_PATH))?;
        let (overrides, arguments) = (Overrides::new(Words::Macro), Vec::new());
        let mut call = Self { attributes, visibility, path, overrides, arguments, weights: None, root: quote!(::mbvc) };
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if !input.is_empty() {
                call.argument(input)?;
            }
        }
        Ok(call)
    }
}

impl Call {
    /// Parses `key = value`.
    fn argument(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let visibility = |span, rest: &str| {
            let help = format!("write `mobilenet_v2!(pub {}{rest})`", self.path.to_token_stream());
            Err(mistake(span, ["the visibility of the network precedes the spec path", &help]))
        };
        match input.span() {
            span if input.peek(Token![#]) => return Err(mistake(span, ATTRIBUTE)),
            span if input.peek(Token![pub]) => return visibility(span, ""),
            _ => {}
        }
        let key = input.call(Ident::parse_any)?;
        input.parse::<Token![=]>()?;
        let span = input.span();
        if input.peek(Token![pub]) {
            input.parse::<Visibility>()?;
            return visibility(span, &format!(", {key} = {}", value(input)?));
        }
        let value = value(input)?;
        if value.is_empty() {
            return Err(mistake(key.span(), [&format!("`{key}` has no value"), &format!("write `{key} = value`")]));
        }
        match key.to_string().as_str() {
            "crate" => self.root = value,
            "weights" if self.weights.is_some() => return Err(mistake(key.span(), WEIGHTS_TWICE)),
            "weights" => self.weights = Some(syn::parse2(value).map_err(|_| mistake(span, NO_WEIGHTS))?),
            name => {
                self.overrides.set(name, &yaml(&value));
                self.arguments.push(quote!(#key = #value));
            }
        }
        Ok(())
    }
}

/// An error with a message and a remedy.
fn mistake(span: Span, [message, help]: [&str; 2]) -> syn::Error {
    syn::Error::new(span, format!("{message}\n= help: {help}"))
}

/// The tokens up to the next comma.
fn value(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    Ok(tokens)
}

/// A value as YAML: the text of a string literal, other tokens as written.
fn yaml(value: &TokenStream) -> String {
    match syn::parse2::<LitStr>(value.clone()) {
        Ok(text) => text.value(),
        // A sign is a separate token; with a space after it YAML would read a list item. The compiler breaks long lists
        // into lines.
        Err(_) => value.to_string().replace("- ", "-").replace('\n', " "),
    }
}

impl Call {
    /// The items of the network, or compile errors.
    pub fn expand(self) -> TokenStream {
        let Self { attributes, visibility, path, overrides, arguments, weights, root } = self;
        let name = path.value();
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        // Spelled with `env!`, so that the expansion contains no absolute path.
        let tracked = quote! {
            const _: &[u8] = ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #name));
        };
        let compiled = match compile_file(&Path::new(&folder).join(&name), &name, &overrides) {
            Ok(compiled) => compiled,
            Err(mistakes) => return reject_each(&path, &arguments, &overrides, &mistakes),
        };
        let naming = Naming {
            name: format_ident!("{}", compiled.spec.name, span = path.span()),
            runtime: quote!(#root::__runtime),
            attributes: quote!(#(#attributes)*),
            visibility: quote!(#visibility),
        };
        let items = match &weights {
            None => compiled.tokens(&naming),
            Some(file) => match embed(&file.value(), &compiled) {
                Ok(embedded) => compiled.tokens_with(&naming, &embedded),
                Err(mistakes) => return reject(file, "the weights cannot be embedded", &mistakes),
            },
        };
        quote!(#tracked #items)
    }
}

/// One compile error for the mistakes of each argument, at the argument, and one for those of the spec, at its path.
fn reject_each(path: &LitStr, arguments: &[TokenStream], overrides: &Overrides, mistakes: &Diagnostics) -> TokenStream {
    let argument = |one: &Diagnostic| one.place.and_then(|place| overrides.at(place));
    let places = arguments.iter().enumerate().map(|(at, tokens)| (Some(at), tokens.clone()));
    let errors = places.chain([(None, path.to_token_stream())]).map(|(at, place)| {
        let those = mistakes.only(|one| argument(one) == at);
        (!those.is_empty()).then(|| reject(place, "the network cannot be compiled", &those))
    });
    errors.flatten().collect()
}

/// One compile error at `place`.
fn reject(place: impl ToTokens, what: &str, mistakes: &Diagnostics) -> TokenStream {
    syn::Error::new_spanned(place, format!("{what}\n{}", mistakes.render(false))).into_compile_error()
}
