"""GenEval without any download: scenes composed so that their content is known, and a small judge trained on them.

`objects` draws the objects by the tools of `pen` and `colours`, `backgrounds` what they stand before. `tasks` says what
a caption asks for and what its scene shows, `compose` makes the picture and `folder` writes pictures in GenEval's
layout. The judge is a detector and a colour classifier: `network` holds their networks, `training` trains them,
`finding` turns their outputs into detections and colours, and `detector` registers them for GenEval. `agreement`
measures how often GenEval's verdict by a judge agrees with the truth. `stages` offers scenes to data construction
(`lactok.data`): `reading` goes from a caption to what it says, `truth` from a scene to what is true of it, and `pairs`
measures how many of the constructed pairs are true.
"""

EVALUATED = 120  # captions that `python -m benchmarks.geneval --scenes` draws by default, on which nothing is trained
