# The recipes and scripts/test run the same commands. `just tools` installs what they need.

_default:
    @just --list

# install buf, grpcurl and the Python environment under target/tools
tools:
    scripts/tools

# format the code
fmt:
    cargo fmt

# rustfmt, without changing anything
fmt-check:
    cargo fmt --check

# clippy, without warnings
clippy:
    cargo clippy --locked --all-targets --features failpoints -- -D warnings
    cargo clippy --locked -- -D warnings

# the Rust tests; arguments go to cargo test
test *args:
    scripts/test-rust {{args}}

# the Python client's tests; arguments go to pytest
python *args: build
    scripts/test-python {{args}}

# the debug binary
build:
    cargo build --locked

# the benchmarks
bench *args:
    cargo bench --locked {{args}}

# install what the benchmarks `downloads` and `gateways` measure beside, under target/peers
bench-peers:
    scripts/bench-peers

# the documentation, without warnings
doc:
    scripts/doc

# licences, banned crates and sources
deny:
    scripts/deny

# rules of the contract
proto-lint:
    cd proto && PATH="{{justfile_directory()}}/target/tools/bin:$PATH" buf lint

# the contract against the one on main: nothing that breaks a client
proto-breaking:
    PATH="{{justfile_directory()}}/target/tools/bin:$PATH" buf breaking proto --against '.git#branch=main,subdir=proto'

# write the Python client's generated code again
python-generate:
    target/tools/venv/bin/python clients/python/generate

# everything, as CI does
all:
    scripts/test
