//! What is left of TypeScript.

use oxc_allocator::Allocator;
use oxc_parser::Parser;
use oxc_span::SourceType;

fn stripped(text: &str) -> Result<String, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::ts()).parse();
    assert!(
        !parsed.diagnostics.has_errors(),
        "{text}: {:?}",
        parsed.diagnostics
    );
    let result = super::strip(text, &parsed.program).map_err(|(message, _)| message);
    if let Ok(result) = &result {
        let again = Parser::new(&allocator, result, SourceType::mjs()).parse();
        assert!(
            !again.diagnostics.has_errors(),
            "{result}: {:?}",
            again.diagnostics
        );
        assert_eq!(result.matches('\n').count(), text.matches('\n').count());
    }
    result
}

#[test]
fn types_become_blanks() {
    for (text, expected) in [
        ("let a: number = 1", "let a         = 1"),
        ("let a!: number", "let a         "),
        ("class A { [a]?() {} }", "class A { [a] () {} }"),
        ("f<string>(a as any, b!)", "f        (a       , b )"),
        ("let a = <any>b", "let a =      b"),
        (
            "function f<T>(this: T, a?: T): T { return a! }",
            "function f   (         a    )    { return a  }",
        ),
        (
            "import { type A, b } from './x.js'",
            "import {         b } from './x.js'",
        ),
        ("export { a, type B }", "export { a,        }"),
        (
            "const f = (a: number): number => a",
            "const f = (a        )         => a",
        ),
        (
            "try {} catch (e: unknown) {}",
            "try {} catch (e         ) {}",
        ),
        ("x satisfies Y", "x            "),
    ] {
        assert_eq!(stripped(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn statements_of_types_are_gone() {
    for text in [
        "interface A { b: string }",
        "type A<T> = T | { b: number }",
        "declare const a: number",
        "declare function f(): void",
        "declare module 'x' { export const a: number }",
        "declare global { interface Window {} }",
        "declare enum E { A }",
        "declare namespace N { const a: number }",
        "import type { A } from './a.js'",
        "export type { A } from './a.js'",
        "export type A = 1",
        "export interface A {}",
        "export type * from './a.js'",
        "export declare const a: number",
        "function f(a: number): void",
    ] {
        let result = stripped(text).expect(text);
        assert_eq!(result.trim_end(), ";", "{text}");
    }
}

#[test]
fn classes_keep_what_runs() {
    let text = "abstract class A<T> extends B<T> implements C, D<T> {\n\
        private readonly a: number = 1\n\
        static #b?: string\n\
        declare c: number\n\
        d!: string\n\
        [key: string]: unknown\n\
        abstract e(): void\n\
        constructor(a: number)\n\
        constructor(a: any) { super() }\n\
        protected override async f<T>(a?: T): Promise<void> {}\n\
        public get g(): number { return 1 }\n\
        }";
    let result = stripped(text).expect("a class");
    let squeezed: Vec<String> = result
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "class A extends B {",
        "a = 1",
        "static #b",
        ";",
        "d ;",
        ";",
        ";",
        ";",
        "constructor(a ) { super() }",
        "async f (a ) {}",
        "get g() { return 1 }",
        "}",
    ];
    let plain = |line: &str| line.replace([' ', ';'], "");
    for (line, expected) in squeezed.iter().zip(expected) {
        assert_eq!(plain(line), plain(expected), "{result}");
    }
}

#[test]
fn the_next_line_begins_a_statement_of_its_own() {
    for text in [
        "let a = b as any\n(c)",
        "let a: number\n[1].map(String)",
        "a!\n;[1]",
        "type A = 1\n(b)",
        "class A { b: number\n['c'] = 1 }",
    ] {
        let result = stripped(text).expect(text);
        assert!(result.contains(';'), "{text} -> {result}");
    }
}

#[test]
fn what_makes_code_is_refused_by_its_name() {
    for (text, name) in [
        ("enum E { A }", "an enum"),
        ("const enum E { A }", "an enum"),
        ("namespace N { export const a = 1 }", "a namespace"),
        (
            "class A { constructor(private a: number) {} }",
            "a property among parameters",
        ),
        ("import a = require('a')", "`import … =`"),
        ("export = 1", "`export =`"),
        ("@d class A {}", "a decorator"),
    ] {
        let refused = stripped(text).expect_err(text);
        assert!(refused.starts_with(name), "{text}: {refused}");
    }
}

#[test]
fn text_that_is_not_ascii_stays() {
    let result = stripped("const é: \"ü→\" = \"日本\" as any; // ß");
    assert_eq!(
        result.as_deref(),
        Ok("const é       = \"日本\"       ; // ß")
    );
}
