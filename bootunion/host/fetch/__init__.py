"""Fetching what a list needs and the store lacks, from sources that nobody has to trust.

A source is a tree as `bootunion publish` makes it, which is how a store looks: a directory, or any
static web server. `sources` reads from one, `transfer` brings one package, `fetching` a list.
"""
