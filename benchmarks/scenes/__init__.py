"""GenEval without any download: scenes composed so that their content is known, and a small judge trained on them.

`objects` draws the objects by the tools of `pen` and `colours`, `backgrounds` what they stand before. `tasks` says what
a caption asks for and what its scene shows, `compose` makes the picture and `folder` writes pictures in GenEval's
layout. The judge is a detector and a colour classifier: `network` holds their networks, `training` trains them,
`finding` turns their outputs into detections and colours, and `detector` registers them for GenEval. `agreement`
measures how often GenEval's verdict by a judge agrees with the truth.
"""
