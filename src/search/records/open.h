// Opening a database of records: what is no such database is refused, what can be read is read.
#pragma once

#include "search/records/sqlite.h"

namespace burnish::search {

// For writing: created when missing, migrated when old, checked for damage. UserError, SqliteError.
Connection open_for_writing(const std::filesystem::path& path);

// For reading only, also in a folder that cannot be written. UserError, SqliteError.
Connection open_for_reading(const std::filesystem::path& path);

// As it is, whatever is in it: for examining. A log beside it stays as it is, too. UserError,
// SqliteError.
Connection open_as_it_is(const std::filesystem::path& path);

// Copies a database with the log that may lie beside it. `name` is what messages call it.
// UserError.
void copy_database(const std::filesystem::path& from, const std::filesystem::path& to,
                   const std::string& name);

}  // namespace burnish::search
