"""Values and keys that find mistakes in comparisons, by level.

For tests of every service that answers queries: it must find what the standard's rules find.
"""

from tests.instances import CT_IMAGE

NAMES = [
    "",
    "Smith^John",
    "smith^john",
    "SMITHERS^J",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "=山田",
    "Люкceмбypг",
    "ЛЮКСЕМБУРГ^Анна",
    "Διονυσιος",
    "ΔΙΟΝΥΣΙΟΣ",
    "قباني^لنزار",
    "שרון^דבורה",
    "Wang^XiaoDong=王^小东",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "Straße^ß",
    "100%_sure\\two",
    "back*slash?",
    "İstanbul",
    "a" * 400,
    "A=Z",
]
TEXTS = [
    "",
    "A1",
    "a1",
    "A12",
    "0A1",
    "B_%",
    "A1\\B2",
    "A" * 400,
    "é",
    " A1 ",
    "Z\ud7ff",
    "\U0010ffff",
]
DATES = ["", "20260101", "2026.01.01", "20251231", "19000101", "nonsense", "20260101\\20250101"]
TIMES = ["", "10", "1030", "103015.5", "235959.999999", "10:30:15"]
NUMBERS = ["", "1", "+1", "01", "10", "-3", "x"]
KEYS = {
    "PatientName": (
        NAMES,
        [
            *NAMES,
            "*",
            "Sm*",
            "s?ith*",
            "*山田*",
            "山*",
            "люк*",
            "διον*",
            "*太郎",
            "*=*",
            "A*Z",
            "=山田",
            "%",
            "*_*",
            "strasse*",
            "Smith^John\\=山田",
            "Yamada*=山田*",
            "*^*=山田^太郎^*=やまだ^?ろう",
            "=山田^*\\wang^*",
            "a=z=",
            "wang*",
            "홍*",
            "ק*",
            "*ה",
            "\U0010ffff*",
        ],
    ),
    "PatientID": (TEXTS, [*TEXTS, "A*", "*1", "?1", "A1\\B_%", "*%*", "Z\ud7ff*", "*"]),
    "IssuerOfPatientID": (["", "H1", "H2"], ["", "H1", "H*"]),
    "PatientBirthDate": (DATES, ["", "20260101", "-20251231", "20260101-", "20250101-20260101"]),
    "StudyDate": (
        DATES,
        ["", "20260101", "-20251231", "20260101-", "20250101-20260101", "2026.01.01"],
    ),
    "StudyTime": (TIMES, ["", "10", "1030-1031", "-11", "103015.5-"]),
    "AccessionNumber": (TEXTS, [*TEXTS, "A*", "A1\\A12"]),
    "StudyID": (TEXTS, [*TEXTS, "a?"]),
    "StudyDescription": (["", "Head", "HEAD\\Neck"], ["", "Head", "*e*", "Neck"]),
    "ReferringPhysicianName": (NAMES[:6], ["", "smith*", "*山田*"]),
    "Modality": (["", "CT", "MR", "PT"], ["", "CT", "C*", "CT\\MR", "?T"]),
    "SeriesNumber": (NUMBERS, ["", "1", "10", "2\\1"]),
    "InstanceNumber": (NUMBERS, ["", "1", "-3"]),
    "SpecificCharacterSet": (["", "ISO_IR 192"], [""]),
    "ModalitiesInStudy": ([], ["", "CT", "CT\\PT", "M*"]),
    "SOPClassesInStudy": ([], ["", CT_IMAGE, "1.2.3", f"{CT_IMAGE}\\1.2.3"]),
    "SOPClassUID": ([CT_IMAGE, "1.2.3"], ["", "1.2.3"]),
    "NumberOfPatientRelatedStudies": ([], [""]),
    "NumberOfPatientRelatedSeries": ([], [""]),
    "NumberOfPatientRelatedInstances": ([], ["", "2"]),
    "NumberOfStudyRelatedSeries": ([], ["", "1"]),
    "NumberOfStudyRelatedInstances": ([], [""]),
    "NumberOfSeriesRelatedInstances": ([], [""]),
}
LEVELS = {
    "PATIENT": ["PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"]
    + [each for each in KEYS if each.startswith("NumberOfPatient")],
}
LEVELS["STUDY"] = [
    *LEVELS["PATIENT"],
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription"),
    *("ReferringPhysicianName", "ModalitiesInStudy", "SOPClassesInStudy", "StudyInstanceUID"),
    *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
]
LEVELS["SERIES"] = [
    *LEVELS["STUDY"],
    *("Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"),
]
LEVELS["IMAGE"] = [*LEVELS["SERIES"], "InstanceNumber", "SOPClassUID", "SOPInstanceUID"]
STUDIES, SERIES, INSTANCES = ["1.1", "1.2", "1.3"], ["2.1", "2.2"], ["3.1", "3.2", "3.3", "3.4"]
UNIQUE = {
    "StudyInstanceUID": [*STUDIES, "1.1\\1.3", ""],
    "SeriesInstanceUID": [*SERIES, ""],
    "SOPInstanceUID": [*INSTANCES, "3.1\\3.2", ""],
}
