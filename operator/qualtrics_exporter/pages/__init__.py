"""The design that all pages of the project share: those of the console and those of the sandbox.

templates/  `base.html`, the frame of a page, and macros
assets/     the style sheet, the scripts and the icon
rendering   makes pages from templates, with the filters for times and numbers
serving     responses of aiohttp: pages and assets with headers for security, streams of changes; checks of Host and
            Origin; the zone of the reader
times       times as people read them
"""
