//! Images, registries and archives that mean harm.
