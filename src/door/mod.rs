pub mod dispatch;
pub mod listen;
