//! The call: its grammar, and from a spec's path to the items.

use std::path::Path;

use mbvc_compiler::diagnostic::Diagnostic;
use mbvc_compiler::spec::{Overrides, Words};
use mbvc_compiler::{Diagnostics, Naming, compile_file};
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, LitStr, Token, Visibility};

use crate::weights::embed;

const NO_PATH: &str = "here stands the path of a spec, in quotes: `mobilenet_v2!(\"specs/v2.yaml\")`";

const NO_WEIGHTS: &str = "`weights` is the path of a file, in quotes: `weights = \"model.safetensors\"`";

/// `[attributes] [visibility] "path", key = value, ...`
pub struct Call {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    path: LitStr,
    overrides: Overrides,
    /// Each override as it was written.
    arguments: Vec<TokenStream>,
    /// Path of a file to embed.
    weights: Option<LitStr>,
    /// Path of the crate `mbvc`.
    root: TokenStream,
}

impl Parse for Call {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let path = input.parse().map_err(|error| syn::Error::new(error.span(), NO_PATH))?;
        let mut overrides = Overrides::new(Words::Macro);
        let (mut arguments, mut weights, mut root) = (Vec::new(), None, quote!(::mbvc));
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let key = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value = value(input)?;
            if value.is_empty() {
                return Err(syn::Error::new(key.span(), format!("`{key}` has no value; write `{key} = value`")));
            }
            match key.to_string().as_str() {
                "crate" => root = value,
                "weights" if weights.is_some() => return Err(syn::Error::new(key.span(), "`weights` is given twice")),
                "weights" => {
                    let path = syn::parse2::<LitStr>(value).map_err(|_| syn::Error::new(key.span(), NO_WEIGHTS))?;
                    weights = Some(path);
                }
                name => {
                    arguments.push(quote!(#key = #value));
                    overrides.set(name, &yaml(value));
                }
            }
        }
        Ok(Self { attributes, visibility, path, overrides, arguments, weights, root })
    }
}

/// All tokens up to the next comma.
fn value(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    Ok(tokens)
}

/// A value as it would stand in the spec: a string literal stands for its text.
fn yaml(value: TokenStream) -> String {
    match syn::parse2::<LitStr>(value.clone()) {
        Ok(text) => text.value(),
        // A sign is a token of its own, and would be the bullet of a list.
        Err(_) => value.to_string().replace("- ", "-"),
    }
}

impl Call {
    pub fn expand(self) -> TokenStream {
        let Self { attributes, visibility, path, overrides, arguments, weights, root } = self;
        let name = path.value();
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        // The path is the caller's own, so that no folder of this machine ends up in the code.
        let tracked = quote! {
            const _: &[u8] = ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", #name));
        };
        let compiled = match compile_file(&Path::new(&folder).join(&name), &name, &overrides) {
            Ok(compiled) => compiled,
            Err(mistakes) => return refuse_each(&path, &arguments, &overrides, &mistakes),
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
                Err(mistakes) => return refuse(file, "the weights cannot be embedded", &mistakes),
            },
        };
        quote!(#tracked #items)
    }
}

/// The mistakes of each argument as one compile error at it, and those of the spec as one at its path.
fn refuse_each(path: &LitStr, arguments: &[TokenStream], overrides: &Overrides, mistakes: &Diagnostics) -> TokenStream {
    let argument = |one: &Diagnostic| one.place.and_then(|place| overrides.at(place));
    let places = arguments.iter().enumerate().map(|(at, tokens)| (Some(at), tokens.clone()));
    let errors = places.chain([(None, path.to_token_stream())]).map(|(at, place)| {
        let those = mistakes.only(|one| argument(one) == at);
        (!those.is_empty()).then(|| refuse(place, "the network cannot be compiled", &those))
    });
    errors.flatten().collect()
}

/// Mistakes as one compile error at what has them: the path of a file, or an argument.
fn refuse(place: impl ToTokens, what: &str, mistakes: &Diagnostics) -> TokenStream {
    syn::Error::new_spanned(place, format!("{what}\n{}", mistakes.render(false))).into_compile_error()
}
