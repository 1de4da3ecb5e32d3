//! The attribute `#[wapo::main]`, re-exported by the crate `wapo`.
//!
//! It only connects names: the exports that the host calls, and the symbols
//! that the linker wants. What happens in a poll is in `wapo::task`.

use proc_macro::TokenStream;
use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream as Tokens};
use quote::quote;
use syn::{Error, ItemFn, ReturnType};

/// Makes an async function the program.
///
/// The function takes nothing and returns nothing or a `Result<(), E>` with
/// `E: Debug`. An error is logged with its causes, and the program ends with
/// exit code 1. It works in a binary and in a `cdylib` library:
///
/// ```ignore
/// #[wapo::main]
/// async fn main() {
///     wapo::log::init();
///     log::info!("hello");
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(args.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(args: Tokens, item: Tokens) -> syn::Result<Tokens> {
    if !args.is_empty() {
        return Err(Error::new_spanned(args, "#[wapo::main] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "#[wapo::main] goes on an async function"))?;
    check(&function)?;
    Ok(program(function, &wapo_path()))
}

fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        let message = "the main function of a guest is async: write `async fn`";
        return Err(Error::new_spanned(signature.fn_token, message));
    }
    if let Some(argument) = signature.inputs.first() {
        let message = "the main function takes no arguments; `std::env::args` has the program's";
        return Err(Error::new_spanned(argument, message));
    }
    if !signature.generics.params.is_empty() {
        let message = "the main function cannot be generic";
        return Err(Error::new_spanned(&signature.generics, message));
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && matches!(**ty, syn::Type::Never(_))
    {
        let message = "the main function returns nothing or a `Result<(), E>`; \
                       one that never returns may leave the `!` out";
        return Err(Error::new_spanned(ty, message));
    }
    Ok(())
}

/// The function and what surrounds it in a program.
///
/// `wapo_poll` is what the host calls. `__main_argc_argv` satisfies the C
/// start-up code of binaries with `#![no_main]`. A function named `main` gets
/// a plain `main` beside it, so that a binary needs no `#![no_main]`; nobody
/// calls either, because the host starts a guest by polling it.
fn program(mut function: ItemFn, wapo: &Tokens) -> Tokens {
    let is_main = function.sig.ident == "main";
    if is_main {
        function.sig.ident = Ident::new("__wapo_main", function.sig.ident.span());
    }
    let run = run(&function.sig.ident, wapo);
    let plain_main = is_main.then(|| {
        quote!(
            #[allow(dead_code)]
            fn main() {}
        )
    });
    quote! {
        #plain_main

        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        #function

        #[cfg(target_family = "wasm")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn wapo_poll() -> i32 {
                #wapo::__private::poll_program(|| #run)
            }

            #[unsafe(no_mangle)]
            extern "C" fn __main_argc_argv(_: i32, _: i32) -> i32 {
                0
            }
        };

        // Elsewhere the program is only checked.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = || {
            let _ = #run;
        };
    }
}

/// The main task: the function, then what becomes of its result.
///
/// Which `end` is called depends on what the error can do; the traits of
/// `wapo::__private` say how.
fn run(name: &Ident, wapo: &Tokens) -> Tokens {
    quote!(async {
        #[allow(unused_imports)]
        use #wapo::__private::{
            BoxedErrorOutput as _, DisplayOutput as _, ErrorOutput as _, MainOutput as _,
        };
        let returned = #wapo::__private::Returned(#name().await);
        (&&&&returned).end();
    })
}

/// The path of the crate `wapo`, whatever the guest's Cargo.toml calls it.
fn wapo_path() -> Tokens {
    let name = match crate_name("wapo") {
        Ok(FoundCrate::Name(name)) => name,
        // In the crate's own examples it is a dependency like any other.
        Ok(FoundCrate::Itself) | Err(_) => "wapo".to_owned(),
    };
    let name = Ident::new(&name, Span::call_site());
    quote!(::#name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(args: Tokens, item: Tokens) -> String {
        expand(args, item).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_be_a_main_function_is_told_so() {
        for (args, item, expected) in [
            (
                quote!(),
                quote!(
                    fn main() {}
                ),
                "write `async fn`",
            ),
            (
                quote!(),
                quote!(
                    async fn main(a: u8) {}
                ),
                "takes no arguments",
            ),
            (
                quote!(),
                quote!(
                    async fn main<T>() {}
                ),
                "cannot be generic",
            ),
            (
                quote!(),
                quote!(
                    async fn main() -> ! {
                        loop {}
                    }
                ),
                "leave the `!` out",
            ),
            (
                quote!(),
                quote!(
                    struct Main;
                ),
                "goes on an async function",
            ),
            (
                quote!(flavor = "fast"),
                quote!(
                    async fn main() {}
                ),
                "takes no arguments",
            ),
        ] {
            let message = message(args, item);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_program_exports_what_host_and_linker_want() {
        let program = expand(
            quote!(),
            quote!(
                async fn main() {
                    work().await
                }
            ),
        )
        .expect("valid");
        let program = program.to_string();
        let file: syn::File = syn::parse_str(&program).expect("parses");
        assert_eq!(file.items.len(), 4);
        for part in [
            "fn main ()",
            "async fn __wapo_main ()",
            "fn wapo_poll () -> i32",
        ] {
            assert!(program.contains(part), "{part} in {program}");
        }
        assert_eq!(program.matches("unsafe (no_mangle)").count(), 2);
    }

    #[test]
    fn a_function_of_another_name_keeps_it_and_makes_no_main() {
        let program = expand(
            quote!(),
            quote!(
                pub async fn app() {}
            ),
        )
        .expect("valid")
        .to_string();
        assert!(program.contains("pub async fn app ()"));
        assert!(!program.contains("fn main"));
    }
}
