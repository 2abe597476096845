/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What zstack run refuses to start, from files made by hand. The image that is served is this
 * program itself, or one that names the same dynamic linker.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "preload/image.h"

static char folder[] = "/tmp/zs-image-XXXXXX";
static char linker[256]; /* of this program */
static char why[512];

/* A file in the folder; its name is valid until the next one is made. */
static const char *file(const char *name, const void *bytes, size_t len, mode_t mode)
{
	static char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static const char *script(const char *name, const char *text)
{
	return file(name, text, strlen(text), 0755);
}

/* An ELF file: header, segments, what they hold, names of sections, sections. */
struct elf_file {
	ElfW(Ehdr) h;
	ElfW(Phdr) p[2];
	char interp[256];
	uint32_t note[4];
	char names[64];
	ElfW(Shdr) s[2];
};

static struct elf_file elf(const char *interp)
{
	struct elf_file e = {0};
	int fd = open("/proc/self/exe", O_RDONLY);

	assert_int_equal(read(fd, &e.h, sizeof(e.h)), sizeof(e.h));
	close(fd);
	e.h.e_phoff = offsetof(struct elf_file, p);
	e.h.e_phnum = 2;
	e.h.e_shoff = offsetof(struct elf_file, s);
	e.h.e_shnum = 2;
	e.h.e_shstrndx = 1;
	e.p[1].p_type = PT_LOAD;
	if (interp != NULL) {
		snprintf(e.interp, sizeof(e.interp), "%s", interp);
		e.p[0] = (ElfW(Phdr)){.p_type = PT_INTERP,
				      .p_offset = offsetof(struct elf_file, interp),
				      .p_filesz = strlen(interp) + 1};
	}
	memcpy(e.names, "\0.text\0.strtab", 15);
	e.s[0].sh_name = 1;
	e.s[1].sh_name = 7;
	e.s[1].sh_offset = offsetof(struct elf_file, names);
	e.s[1].sh_size = sizeof(e.names);
	return e;
}

static int check(const char *path)
{
	why[0] = '\0';
	return image_check(path, why, sizeof(why));
}

static int check_elf(const struct elf_file *e)
{
	return check(file("elf", e, sizeof(*e), 0755));
}

static void refused(const char *path, int status, const char *because)
{
	assert_int_equal(check(path), status);
	if (strstr(why, because) == NULL)
		fail_msg("%s: no '%s' in: %s", path, because, why);
}

static void refused_elf(const struct elf_file *e, const char *because)
{
	refused(file("elf", e, sizeof(*e), 0755), IMAGE_REFUSED, because);
}

static void supervised_elf(const struct elf_file *e, const char *because)
{
	refused(file("elf", e, sizeof(*e), 0755), IMAGE_SUPERVISED, because);
}

static void this_program_is_served(void **state)
{
	struct elf_file e = elf(linker);

	assert_int_equal(check("/proc/self/exe"), 0);
	assert_int_equal(check_elf(&e), 0);
	assert_int_equal(check(linker), 0); /* ld.so PROGRAM */
	e.h.e_shoff = 0;		    /* stripped of all sections */
	e.h.e_shnum = 0;
	assert_int_equal(check_elf(&e), 0);
}

static void static_programs_are_supervised(void **state)
{
	struct elf_file e = elf(NULL);

	e.h.e_type = ET_EXEC;
	supervised_elf(&e, "statically");
	e.h.e_type = ET_DYN; /* static-pie */
	supervised_elf(&e, "statically");
}

static void programs_of_go_are_supervised(void **state)
{
	struct elf_file e = elf(linker);

	e.note[0] = 4;
	memcpy(&e.note[3], "Go\0", 4);
	e.p[1] = (ElfW(Phdr)){.p_type = PT_NOTE,
			      .p_offset = offsetof(struct elf_file, note),
			      .p_filesz = sizeof(e.note)};
	supervised_elf(&e, "Go program");
	memcpy(&e.note[3], "GNU", 4);
	assert_int_equal(check_elf(&e), 0);
	strcpy(e.names + 20, ".go.buildinfo");
	e.s[0].sh_name = 20;
	supervised_elf(&e, "Go program");
	e = elf(NULL);
	strcpy(e.names + 20, ".note.go.buildid");
	e.s[0].sh_name = 20;
	supervised_elf(&e, "Go program"); /* says more than that it is static */
}

static void other_c_libraries_are_supervised(void **state)
{
	struct elf_file e = elf("/lib/ld-musl-x86_64.so.1");

	supervised_elf(&e, "ld-musl");
	e = elf("/system/bin/linker64");
	supervised_elf(&e, "another C library");
}

static void other_machines_are_refused(void **state)
{
	struct elf_file e = elf(linker);

	e.h.e_machine = EM_S390;
	refused_elf(&e, "machine 22");
	e = elf(linker);
	e.h.e_ident[EI_CLASS] ^= 3;
	refused_elf(&e, "another kind of machine");
}

static void damaged_files_are_refused_and_not_trusted(void **state)
{
	struct elf_file e = elf(linker);

	refused(file("cut", &e, 20, 0755), IMAGE_REFUSED, "no ELF program");
	refused(file("cut", &e, sizeof(e.h), 0755), IMAGE_REFUSED, "damaged");
	e.h.e_phoff = UINT64_MAX - 8;
	refused_elf(&e, "damaged");
	e = elf(linker);
	e.h.e_type = ET_REL;
	refused_elf(&e, "no ELF program");
	e = elf(linker);
	e.p[0].p_filesz = UINT64_MAX;
	supervised_elf(&e, "statically");
	e = elf(linker);
	e.s[0].sh_name = UINT32_MAX;
	e.s[1].sh_size = 3;
	assert_int_equal(check_elf(&e), 0);
}

/* Whatever bits are wrong: a verdict, and (with the sanitizers) no access outside. */
static void random_damage_gives_a_verdict(void **state)
{
	srand(1);
	for (int i = 0; i < 2000; i++) {
		struct elf_file e = elf(linker);

		for (int k = 0; k < 3; k++)
			((uint8_t *)&e)[(size_t)rand() % sizeof(e)] = (uint8_t)rand();
		(void)check_elf(&e);
	}
}

static void rights_that_are_gained_are_refused(void **state)
{
	struct elf_file e = elf(linker);
	const char *path = file("suid", &e, sizeof(e), 0755);

	if (geteuid() != 0 || chown(path, 1, 1) != 0 || chmod(path, 04755) != 0)
		skip();
	refused(path, IMAGE_REFUSED, "set-user-ID");
	assert_int_equal(chmod(path, 02755), 0);
	refused(path, IMAGE_REFUSED, "set-group-ID");
	assert_int_equal(chmod(path, 02745), 0); /* without x for the group it means locking */
	assert_int_equal(check(path), 0);
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(path, 06755), 0);
	assert_int_equal(check(path), 0); /* root gains nothing by root's */
}

static void scripts_are_judged_by_their_interpreter(void **state)
{
	struct elf_file e = elf(NULL);
	char text[256], go[128];

	snprintf(go, sizeof(go), "%s", file("static", &e, sizeof(e), 0755));
	assert_int_equal(check(script("sh", "#!/bin/sh\n")), 0);
	assert_int_equal(check(script("text", "no interpreter")), 0);
	assert_int_equal(check(script("empty", "#!\n")), 0);
	snprintf(text, sizeof(text), "#! %s -x\n", go);
	refused(script("a", text), IMAGE_SUPERVISED, "statically");
	snprintf(text, sizeof(text), "#!%s/a\n", folder);
	refused(script("b", text), IMAGE_SUPERVISED, "statically");
	refused(script("c", "#!/no/such/interpreter\n"), IMAGE_NOT_FOUND,
		"/no/such/interpreter: not found");
	snprintf(text, sizeof(text), "#!%s/loop\n", folder);
	refused(script("loop", text), IMAGE_REFUSED, "and so on");
}

static void env_in_scripts_is_looked_through(void **state)
{
	char text[512], path[128];
	struct elf_file e = elf(NULL);

	snprintf(path, sizeof(path), "%s", file("zs-static", &e, sizeof(e), 0755));
	assert_int_equal(check(script("a", "#!/usr/bin/env sh\n")), 0);
	assert_int_equal(check(script("a", "#!/usr/bin/env\n")), 0);
	refused(script("a", "#!/usr/bin/env zs-no-such-thing\n"), IMAGE_NOT_FOUND, "not found");
	snprintf(text, sizeof(text), "#!/usr/bin/env -S A=b %s -c\n", path);
	refused(script("a", text), IMAGE_SUPERVISED, "statically");
}

static void programs_are_found_as_execvp_finds_them(void **state)
{
	const char *path = getenv("PATH");
	char *old = strdup(path != NULL ? path : ""), list[256];

	refused("zs-no-such-thing", IMAGE_NOT_FOUND, "zs-no-such-thing: not found");
	refused("./zs-no-such-thing", IMAGE_NOT_FOUND, "not found");
	refused("", IMAGE_NOT_FOUND, "not found");
	refused("/", IMAGE_REFUSED, "no file");
	refused("/dev/null/x", IMAGE_REFUSED, "Not a directory");
	file("zs-there", "#!/bin/sh\n", 10, 0644);
	snprintf(list, sizeof(list), "/no/such/folder::%s", folder);
	setenv("PATH", list, 1);
	refused("zs-there", IMAGE_REFUSED, "may not be executed");
	script("zs-there", "#!/bin/sh\n");
	assert_int_equal(check("zs-there"), 0);
	setenv("PATH", old, 1);
	free(old);
}

static int begin(void **state)
{
	struct elf_file e;
	ElfW(Phdr) p;
	int fd = open("/proc/self/exe", O_RDONLY);

	if (mkdtemp(folder) == NULL || read(fd, &e.h, sizeof(e.h)) != sizeof(e.h))
		return -1;
	for (unsigned i = 0; i < e.h.e_phnum; i++) {
		if (pread(fd, &p, sizeof(p), (off_t)(e.h.e_phoff + i * sizeof(p))) != sizeof(p))
			return -1;
		if (p.p_type == PT_INTERP && p.p_filesz < sizeof(linker) &&
		    pread(fd, linker, p.p_filesz, (off_t)p.p_offset) < 0)
			return -1;
	}
	close(fd);
	return linker[0] != '\0' ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = {"elf",  "cut",	 "suid",    "static", "sh",
					    "text", "empty",	 "a",	    "b",      "c",
					    "loop", "zs-static", "zs-there"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(this_program_is_served),
		cmocka_unit_test(static_programs_are_supervised),
		cmocka_unit_test(programs_of_go_are_supervised),
		cmocka_unit_test(other_c_libraries_are_supervised),
		cmocka_unit_test(other_machines_are_refused),
		cmocka_unit_test(damaged_files_are_refused_and_not_trusted),
		cmocka_unit_test(random_damage_gives_a_verdict),
		cmocka_unit_test(rights_that_are_gained_are_refused),
		cmocka_unit_test(scripts_are_judged_by_their_interpreter),
		cmocka_unit_test(env_in_scripts_is_looked_through),
		cmocka_unit_test(programs_are_found_as_execvp_finds_them),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
